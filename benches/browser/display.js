// Plays one address, as its own query says: ?player=hls|whep&url=…[&config=…], and tells of each picture that is shown which
// one it is and when that was: `shown<TAB>number<TAB>milliseconds since 1970`. What the player says of itself once a second
// is `state<TAB>JSON`, and what went wrong `fault<TAB>text`.
'use strict';

const query = new URLSearchParams(location.search);
const [kind, url] = [query.get('player'), query.get('url')];
const config = JSON.parse(query.get('config') ?? '{}');
const video = document.querySelector('video');

// The number stands in the corner, a bit to a column: white above black is one. See timecode.rs.
const [COLUMNS, BLOCK] = [16, 16];
// So many pixels of the canvas to a block, of which one in the middle is looked at.
const CELL = 4;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [COLUMNS * CELL, 2 * CELL];
const context = canvas.getContext('2d', { willReadFrequently: true });
// As black and white are apart in the picture, at the least.
const CONTRAST = 100;

const lines = [];
setInterval(() => { if (lines.length > 0) globalThis.tell(lines.splice(0)); }, 200);
const fault = (text) => lines.push(`fault\t${text.replaceAll('\n', ' ')}`);
video.addEventListener('error', () => fault(`video: ${video.error.code} ${video.error.message}`));
let stalls = 0;
for (const name of ['waiting', 'playing', 'seeking', 'seeked', 'canplay']) {
    video.addEventListener(name, () => console.log(`video: ${name} at ${video.currentTime}`));
}
video.addEventListener('waiting', () => { stalls += 1; });

// The number in the picture, or null where none can be read.
function number() {
    context.drawImage(video, 0, 0, COLUMNS * BLOCK, 2 * BLOCK, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const green = (column, row) => data[((row * CELL + CELL / 2) * canvas.width + column * CELL + CELL / 2) * 4 + 1];
    let value = 0;
    for (let column = 0; column < COLUMNS; column += 1) {
        const difference = green(column, 0) - green(column, 1);
        if (Math.abs(difference) < CONTRAST) return null;
        value = value * 2 + (difference > 0 ? 1 : 0);
    }
    return value;
}

function look(now, { expectedDisplayTime }) {
    video.requestVideoFrameCallback(look);
    const at = performance.timeOrigin + Math.max(now, expectedDisplayTime);
    const shown = number();
    if (shown !== null) lines.push(`shown\t${shown}\t${at.toFixed(3)}`);
}
video.requestVideoFrameCallback(look);

function load(path) {
    return new Promise((resolve, reject) => {
        const script = document.createElement('script');
        script.src = path;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`no ${path}`));
        document.head.append(script);
    });
}

const players = {
    async hls() {
        await load('modules/hls.js/dist/hls.js');
        const player = new window.Hls(config);
        player.on(window.Hls.Events.ERROR, (_, data) => {
            const text = `hls.js: ${data.type} ${data.details} ${data.error?.message ?? ''}`;
            if (data.fatal) fault(text); else console.warn(text);
        });
        player.loadSource(url);
        player.attachMedia(video);
        await new Promise((resolve) => player.once(window.Hls.Events.MANIFEST_PARSED, resolve));
        return () => ({ target: player.targetLatency, latency: player.latency, drift: player.drift });
    },
    async whep() {
        const peer = new RTCPeerConnection();
        const media = new MediaStream();
        video.srcObject = media;
        peer.ontrack = ({ track }) => media.addTrack(track);
        peer.addTransceiver('video', { direction: 'recvonly' });
        peer.addTransceiver('audio', { direction: 'recvonly' });
        await peer.setLocalDescription(await peer.createOffer());
        const headers = { 'content-type': 'application/sdp' };
        const response = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
        const sdp = await response.text();
        if (response.status !== 201) throw new Error(`${response.status} ${sdp}`);
        await peer.setRemoteDescription({ type: 'answer', sdp });
        return () => ({ state: peer.connectionState });
    },
};

players[kind]().then((state) => {
    setInterval(() => {
        const { buffered, currentTime } = video;
        const ahead = buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
        const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
        const own = { ahead, rate: video.playbackRate, stalls, decoded: totalVideoFrames, dropped: droppedVideoFrames };
        const all = JSON.stringify({ ...state(), ...own });
        console.log(all);
        lines.push(`state\t${all}`);
    }, 1000);
    return video.play();
}).catch((error) => fault(`${kind}: ${error.message}`));
