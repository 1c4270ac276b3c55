// Watches a stream of the gateway by WHEP in headless Chromium, and tells when which picture was on the screen. One command
// a line on the standard input (join, look <ms>, leave), one answer a line on the standard output; ends with its input.
//
// usage: node whep.mjs <folder of playwright-core> <chromium> <port of the gateway> <bits> <side>
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [playwright, executablePath, port, bits, side] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${playwright}/index.mjs`));

// What runs in the page. It needs nothing of the gateway but RFC 9725.
const script = `
const video = document.querySelector('video');
const canvas = document.querySelector('canvas');
const paper = canvas.getContext('2d', { willReadFrequently: true });
const [bits, side] = [${bits}, ${side}];
canvas.width = bits * side;
canvas.height = 2 * side;
let peer = null;
let session = null;

// When the picture of a callback is on the screen. What the browser expects may lie in the past already.
const shownAt = ({ expectedDisplayTime }) => Math.max(expectedDisplayTime, performance.now());

// Milliseconds from the beginning until a picture is shown.
async function join() {
    const begin = performance.now();
    const shown = new Promise((resolve) => video.requestVideoFrameCallback((now, frame) => resolve(shownAt(frame))));
    peer = new RTCPeerConnection();
    for (const kind of ['video', 'audio']) peer.addTransceiver(kind, { direction: 'recvonly' });
    const media = new MediaStream();
    peer.ontrack = ({ track }) => media.addTrack(track);
    video.srcObject = media;
    await peer.setLocalDescription(await peer.createOffer());
    const headers = { 'content-type': 'application/sdp' };
    const answer = await fetch('/whep/live/cam0', { method: 'POST', headers, body: peer.localDescription.sdp });
    const sdp = await answer.text();
    if (answer.status !== 201) throw new Error(answer.status + ' ' + sdp);
    session = answer.headers.get('location');
    await peer.setRemoteDescription({ type: 'answer', sdp });
    return await shown - begin;
}

// The number that the picture shows; null when it cannot be read.
function number() {
    paper.drawImage(video, 0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    const { data } = paper.getImageData(0, 0, canvas.width, canvas.height);
    const light = (bit, row) => data[4 * ((row * side + side / 2) * canvas.width + bit * side + side / 2)] > 128;
    let number = 0;
    for (let bit = 0; bit < bits; bit += 1) {
        if (light(bit, 0) === light(bit, 1)) return null;
        if (light(bit, 0)) number += 2 ** bit;
    }
    return number;
}

// Which pictures were on the screen within so many milliseconds, and since when on the clock of the wall.
function look(ms) {
    const origin = Date.now() - performance.now();
    const end = performance.now() + ms;
    const seen = [];
    return new Promise((resolve) => {
        const note = (now, frame) => {
            const at = origin + shownAt(frame);
            // What is drawn may be newer than what the callback is about.
            seen.push({ number: number(), at, rtp: frame.rtpTimestamp });
            if (performance.now() < end) video.requestVideoFrameCallback(note);
            else resolve(seen);
        };
        video.requestVideoFrameCallback(note);
    });
}

async function leave() {
    peer.close();
    video.srcObject = null;
    await fetch(session, { method: 'DELETE' });
}
`;
const html = `<!DOCTYPE html><meta charset="utf-8"><title>bench</title>
<video autoplay muted playsinline></video><canvas></canvas><script>${script}</script>`;

const browser = await chromium.launch({
    executablePath,
    args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
        '--disable-background-networking', '--disable-component-update', '--autoplay-policy=no-user-gesture-required',
    ],
});
const url = `http://127.0.0.1:${port}/page-of-the-bench`;
let page = null;

const commands = {
    async join() {
        page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
        // In the place of one of the gateway's own, so that it may talk to it.
        await page.route(url, (route) => route.fulfill({ body: html, contentType: 'text/html' }));
        await page.goto(url);
        return page.evaluate('join()');
    },
    async look(ms) {
        const seen = await page.evaluate(`look(${Number(ms)})`);
        return seen.map(({ number, at, rtp }) => `${number ?? '-'},${at},${rtp}`).join(' ');
    },
    async leave() {
        await page.evaluate('leave()');
        await page.close();
        return '';
    },
};

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
    const [command, argument] = line.split(' ');
    try {
        process.stdout.write(`ok ${await commands[command](argument)}\n`);
    } catch (error) {
        process.stdout.write(`error ${String(error.message ?? error).replaceAll('\n', ' ')}\n`);
    }
}
await browser.close();
