// The API, and the credential that it may want: kept as long as the tab is open.

import { byId, field, say, show } from './document.js';

const CREDENTIAL = 'credential';
const PATIENCE_MS = 8000;

export const hasCredential = () => sessionStorage.getItem(CREDENTIAL) !== null;
export const forgetCredential = () => sessionStorage.removeItem(CREDENTIAL);

// An answer that is no success; `status` is 0 when there was none.
export class Failure extends Error {
    constructor(status, text) {
        super(text);
        this.status = status;
    }
}

export async function ask(path, method = 'GET', body = undefined) {
    const credential = sessionStorage.getItem(CREDENTIAL);
    let response, answer;
    try {
        response = await fetch(`api/v1/${path}`, {
            method,
            body: body && JSON.stringify(body),
            // Ours, in words of ours: the browser does not ask for any.
            credentials: 'omit',
            cache: 'no-store',
            headers: credential ? { Authorization: credential } : {},
            signal: AbortSignal.timeout(PATIENCE_MS),
        });
        answer = await response.json();
    } catch (error) {
        throw new Failure(response?.status ?? 0, error.message);
    }
    if (!response.ok || answer.code !== 0) {
        const text = typeof answer.data === 'string' ? answer.data : `the answer was ${response.status}`;
        throw new Failure(response.ok ? 500 : response.status, text);
    }
    return answer;
}

// A header for a user's password, or a token of nobody in particular (RFC 7617, RFC 6750).
export function authorization(user, secret) {
    const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));
    return user ? `Basic ${btoa(utf8(`${user}:${secret}`))}` : `Bearer ${secret}`;
}

const signIn = byId('sign-in');

// Asks for a credential; whether there is one then, which there is unless one `mayDecline`.
export function signedIn(why, mayDecline) {
    say(field(signIn, 'why'), `The gateway says: ${why}.`);
    show(field(signIn, 'cancel'), mayDecline);
    show(signIn, true);
    signIn.elements.secret.focus();
    return new Promise((resolve) => {
        const end = (is) => {
            show(signIn, false);
            signIn.elements.secret.value = '';
            resolve(is);
        };
        signIn.onsubmit = (event) => {
            event.preventDefault();
            const [user, secret] = [signIn.elements.user.value, signIn.elements.secret.value];
            sessionStorage.setItem(CREDENTIAL, authorization(user, secret));
            end(true);
        };
        field(signIn, 'cancel').onclick = () => end(false);
    });
}

export function notice(text) {
    const element = byId('notice');
    say(element, text);
    show(element, text !== '');
}

// Changes something, and says for a while if that failed.
export async function change(path, method, otherwise, body = undefined) {
    try {
        await ask(path, method, body);
    } catch (failure) {
        // It is gone by itself.
        if (failure.status === 404) return;
        if (failure.status === 401 && await signedIn(failure.message, true)) return change(path, method, otherwise, body);
        notice(`${otherwise}: ${failure.message}.`);
        setTimeout(() => notice(''), 10_000);
    }
}

export const kick = (id) => change(`clients/${id}`, 'DELETE', 'The connection was not ended');
