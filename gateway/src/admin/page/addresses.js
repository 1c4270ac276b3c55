// Where to publish and where to watch, in the words of who reached us, with buttons that copy.

import { clone, field, say } from './document.js';

export const here = new URL('.', location.href);
export const ports = (name) => document.documentElement.dataset[name].split(' ').filter(Boolean);
export const encoded = (path) => path.split('/').map(encodeURIComponent).join('/');

// An SRT address, none when the name cannot be written in a stream id. Where something in the name would be read
// otherwise, all of the id is percent-encoded, which the gateway understands whether the client decodes it or not.
function srt(path, mode) {
    if (/[,=]/.test(path)) return [];
    const id = `#!::r=${path},m=${mode}`;
    const written = /^[\w./~-]+$/.test(path) ? id : encodeURIComponent(id);
    return ports('srt').map((port) => ['SRT', `srt://${here.hostname}:${port}?streamid=${written}`]);
}

const rtmp = (path) => ['rtmp', 'rtmps'].flatMap((scheme) =>
    ports(scheme).map((port) => [scheme.toUpperCase(), `${scheme}://${here.hostname}:${port}/${encoded(path)}`]));
const byWebRtc = (kind, path) => ports('webrtc').slice(0, 1).map(() =>
    [kind, new URL(`${kind.toLowerCase()}/${encoded(path)}`, here).href]);
export const publishAt = (path) => [...srt(path, 'publish'), ...rtmp(path), ...byWebRtc('WHIP', path)];
export const overHttp = (path, extension) => new URL(`${encoded(path)}.${extension}`, here).href;

export function watchAt(path) {
    const hls = document.documentElement.dataset.hls !== '' ? [['HLS', 'm3u8']] : [];
    const http = [...hls, ['FLV', 'flv'], ['MPEG-TS', 'ts'], ['MP4', 'mp4']];
    const byHttp = http.map(([kind, extension]) => [kind, overHttp(path, extension)]);
    return [...byWebRtc('WHEP', path), ...byHttp, ...rtmp(path), ...srt(path, 'request')];
}

// `navigator.clipboard` is for secure contexts only, and a gateway on a local network is none.
async function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'unseen';
    document.body.append(area);
    area.select();
    const isDone = document.execCommand('copy');
    area.remove();
    if (!isDone) throw new Error('the browser does not copy');
}

export function addressRow([kind, text]) {
    const row = clone('address').firstElementChild;
    const button = row.querySelector('button');
    say(field(row, 'kind'), kind);
    say(field(row, 'text'), text);
    button.setAttribute('aria-label', `Copy ${kind}`);
    button.addEventListener('click', async () => {
        const isDone = await copy(text).then(() => true, () => false);
        button.textContent = isDone ? 'Copied' : 'Select it';
        if (!isDone) getSelection().selectAllChildren(field(row, 'text'));
        setTimeout(() => { button.textContent = 'Copy'; }, 2000);
        button.focus();
    });
    return row;
}

// The stream that an input names.
export function named(input) {
    const path = input.value.trim().replace(/^\/+/, '') || 'live/cam';
    const [name, app] = [path.split('/').at(-1), path.split('/').slice(0, -1).join('/') || 'live'];
    return { name, app, full: `${app}/${name}` };
}

export function howToPublish(root) {
    const input = root.querySelector('input');
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const coding = '-c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 50 -c:a aac';
    const tell = () => {
        const { name, app, full } = named(input);
        const ffmpeg = [...srt(full, 'publish'), ...rtmp(full)].map(([kind, url]) =>
            [kind, `ffmpeg -re -i input.mp4 ${coding} -f ${kind === 'SRT' ? 'mpegts' : 'flv'} ${quoted(url)}`]);
        const obs = [
            ...ports('rtmp').slice(0, 1).flatMap((port) =>
                [['Server', `rtmp://${here.hostname}:${port}/${encoded(app)}`], ['Stream key', encodeURIComponent(name)]]),
            ...srt(full, 'publish').map(([, url]) => ['or Server', url]),
            ...byWebRtc('WHIP', full),
        ];
        for (const [list, rows] of [['addresses', publishAt(full)], ['ffmpeg', ffmpeg], ['obs', obs]]) {
            field(root, list).replaceChildren(...rows.map(addressRow));
        }
    };
    input.addEventListener('input', tell);
    tell();
}
