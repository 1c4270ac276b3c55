// Plays one address with one player, as its own query says: ?player=mpegts|hls|native|mse&url=…[&codecs=…][&config=…].
// Tests read `state()`; what went wrong is in `faults`.
'use strict';

const query = new URLSearchParams(location.search);
const [kind, url] = [query.get('player'), query.get('url')];
const config = JSON.parse(query.get('config') ?? '{}');
const video = document.querySelector('video');
const faults = [];

const fault = (text) => faults.push(text);
video.addEventListener('error', () => fault(`video: ${video.error.code} ${video.error.message}`));

function state() {
    const quality = video.getVideoPlaybackQuality();
    const buffered = [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]);
    return {
        frames: quality.totalVideoFrames,
        dropped: quality.droppedVideoFrames,
        time: video.currentTime,
        paused: video.paused,
        ended: video.ended,
        size: [video.videoWidth, video.videoHeight],
        buffered,
        audio: video.webkitAudioDecodedByteCount,
        faults,
    };
}

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
    async mpegts() {
        await load('modules/mpegts.js/dist/mpegts.js');
        const type = new URL(url).pathname.endsWith('.flv') ? 'flv' : 'mpegts';
        const player = window.mpegts.createPlayer({ type, url, isLive: true }, { enableWorker: false, ...config });
        player.on(window.mpegts.Events.ERROR, (type, detail, info) => fault(`mpegts.js: ${type} ${detail} ${info?.msg}`));
        player.attachMediaElement(video);
        player.load();
        window.player = player;
    },
    async hls() {
        await load('modules/hls.js/dist/hls.js');
        const player = new window.Hls({ lowLatencyMode: true, ...config });
        player.on(window.Hls.Events.ERROR, (_, data) => {
            const text = `hls.js: ${data.type} ${data.details} ${data.error?.message ?? ''}`;
            // Others are told of and seen to by hls.js itself.
            if (data.fatal) fault(text); else console.warn(text);
        });
        player.loadSource(url);
        player.attachMedia(video);
        window.player = player;
    },
    async native() {
        video.src = url;
    },
    async mse() {
        const media = new MediaSource();
        video.src = URL.createObjectURL(media);
        await new Promise((resolve) => media.addEventListener('sourceopen', resolve, { once: true }));
        const buffer = media.addSourceBuffer(`video/mp4; codecs="${query.get('codecs')}"`);
        buffer.addEventListener('error', () => fault('mse: the buffer took offence'));
        const done = () => new Promise((resolve) => buffer.addEventListener('updateend', resolve, { once: true }));
        const response = await fetch(url);
        if (!response.ok) throw new Error(`mse: ${response.status}`);
        const follow = async () => {
            for await (const bytes of response.body) {
                const appended = done();
                buffer.appendBuffer(bytes);
                await appended;
                // Live streams begin where their publisher is.
                const start = video.buffered.length > 0 ? video.buffered.start(0) : 0;
                if (video.currentTime < start) video.currentTime = start;
            }
            media.endOfStream();
        };
        follow().catch((error) => fault(`mse: ${error.message}`));
    },
};

players[kind]().then(() => video.play()).catch((error) => fault(`${kind}: ${error.message}`));
