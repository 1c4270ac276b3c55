// Offers and answers over HTTP (RFC 9725, draft-ietf-wish-whep): a session begins with a POST and ends with a DELETE.

// The gateway's answer when it takes no offer.
export class Refused extends Error {
    constructor(status, text) {
        super(text);
        this.status = status;
    }
}

// Begins a session; its address.
export async function begin(connection, address, { authorization = '', signal } = {}) {
    await connection.setLocalDescription();
    const headers = { 'Content-Type': 'application/sdp' };
    if (authorization) headers.Authorization = authorization;
    const { sdp: body } = connection.localDescription;
    const response = await fetch(address, { method: 'POST', headers, body, credentials: 'omit', signal });
    const text = await response.text();
    if (!response.ok) throw new Refused(response.status, text.trim().slice(0, 200));
    const session = new URL(response.headers.get('location'), response.url);
    try {
        await connection.setRemoteDescription({ type: 'answer', sdp: text });
    } catch (error) {
        end(session);
        throw error;
    }
    return session;
}

// Ends it, also when the page is closed.
export const end = (session) => fetch(session, { method: 'DELETE', credentials: 'omit', keepalive: true }).catch(() => {});
