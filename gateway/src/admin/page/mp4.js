// Plays fragmented MP4 over HTTP by Media Source Extensions, near the newest picture.

import { overHttp } from './addresses.js';
import { codecName } from './figures.js';

// What the player tells instead of a picture. `isFinal`: trying again is of no use.
export class Unplayable extends Error {
    constructor(text, isFinal = false) {
        super(text);
        this.isFinal = isFinal;
    }
}


// How far behind the newest picture to be, in seconds: at first, and at most after the network was slow.
const BEHIND = { first: 0.5, max: 4, calmMs: 20_000 };
const KEPT_S = { above: 30, back: 10 };

// Fragmented MP4 over HTTP, by Media Source Extensions.
export class Mp4Player {
    static title = 'MP4';
    static offers = () => 'MediaSource' in window;

    constructor(video, stream, tell) {
        Object.assign(this, { video, tell, tracks: stream.tracks, url: overHttp(stream.path, 'mp4') });
        this.aborter = new AbortController();
        this.behind = BEHIND.first;
        this.calmSince = performance.now();
        this.waiting = () => {
            this.calmSince = performance.now();
            this.behind = Math.min(this.behind * 1.5, BEHIND.max);
        };
    }

    // Plays until the stream ends; throws when something is wrong.
    async run() {
        const { signal } = this.aborter;
        this.tell('Connecting …');
        const response = await fetch(this.url, { signal, credentials: 'omit', cache: 'no-store' });
        if (!response.ok) throw await this.refusal(response);
        this.media = new MediaSource();
        const opened = new Promise((resolve) => this.media.addEventListener('sourceopen', resolve, { once: true }));
        this.video.srcObject = null;
        this.video.src = URL.createObjectURL(this.media);
        this.video.addEventListener('waiting', this.waiting);
        await opened;
        URL.revokeObjectURL(this.video.src);
        // Muted, it may; and where it may not, its viewer starts it.
        this.video.play().catch(() => {});
        this.tell('Waiting for a picture …');
        const reader = response.body.getReader();
        let pending = new Uint8Array();
        for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            pending = await this.take(joined(pending, value));
        }
        if (this.media.readyState === 'open') this.media.endOfStream();
    }

    // A stream with another track begins anew, with all tracks.
    suffices = () => true;

    // The last picture stays.
    stop() {
        this.aborter.abort();
        this.video.removeEventListener('waiting', this.waiting);
    }

    async refusal(response) {
        const text = (await response.text()).trim().slice(0, 200);
        if (response.status === 404) return new Unplayable('Nobody publishes this stream at the moment.');
        if (response.status === 401 || response.status === 403) {
            return new Unplayable(`The gateway does not let this page play the stream: ${text}`, true);
        }
        return new Unplayable(`The gateway answered ${response.status}: ${text}`);
    }

    // Takes all whole boxes (ISO/IEC 14496-12 §4.2), and returns the rest.
    async take(data) {
        const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
        let [from, at] = [0, 0];
        while (at + 8 <= data.length) {
            const size = view.getUint32(at);
            if (size < 8) throw new Unplayable('What the gateway sent is no MP4.');
            if (at + size > data.length) break;
            const type = fourCc(view, at + 4);
            if (type === 'ftyp') {
                await this.append(data.subarray(from, at));
                from = at;
            } else if (type === 'moov') {
                await this.prepare(sampleEntries(view, at, at + size));
            }
            at += size;
        }
        await this.append(data.subarray(from, at));
        return data.slice(at);
    }

    // Makes ready for what an init segment describes, the first one or another.
    async prepare(entries) {
        // By the API's name, or for itself when the API does not know it yet.
        const named = new Map(entries.map((entry) => {
            const isSame = ({ codec_string: codec }) => codec?.toLowerCase().startsWith(entry.toLowerCase());
            const track = this.tracks().find(isSame);
            return track ? [track.codec_string, codecName(track.codec)] : [entry, entry];
        }));
        const isPlayed = (codec) => MediaSource.isTypeSupported(`video/mp4; codecs="${codec}"`);
        const wrong = [...named].filter(([codec]) => !isPlayed(codec)).map(([, name]) => name);
        if (wrong.length > 0) {
            throw new Unplayable(`This browser cannot play ${wrong.join(' and ')}. `
                + 'VLC, mpv and ffplay can, by one of the addresses below.', true);
        }
        const type = `video/mp4; codecs="${[...named.keys()].join(',')}"`;
        if (!this.buffer) {
            this.buffer = this.media.addSourceBuffer(type);
        } else if (type !== this.type) {
            this.buffer.changeType(type);
        }
        this.type = type;
    }

    async append(data) {
        if (data.length === 0) return;
        if (!this.buffer) throw new Unplayable('What the gateway sent does not begin as an MP4.');
        try {
            this.buffer.appendBuffer(data);
        } catch (error) {
            if (error.name !== 'QuotaExceededError') throw this.video.error ?? error;
            await this.forget(0);
            this.buffer.appendBuffer(data);
        }
        await this.idle();
        await this.keepUp();
    }

    async idle() {
        if (!this.buffer.updating) return;
        await new Promise((resolve, reject) => {
            this.buffer.addEventListener('updateend', resolve, { once: true });
            this.aborter.signal.addEventListener('abort', reject, { once: true });
        });
        if (this.video.error) throw this.video.error;
    }

    // Stays near the newest picture: a little faster when behind, a jump when far behind.
    async keepUp() {
        const { video } = this;
        const { buffered } = this.buffer;
        if (buffered.length === 0) return;
        const [start, end] = [buffered.start(buffered.length - 1), buffered.end(buffered.length - 1)];
        const lag = end - video.currentTime;
        const isOutside = video.currentTime < start || lag < 0;
        if (isOutside || lag > this.behind + 4) {
            video.currentTime = Math.max(start, end - this.behind);
        } else {
            if (performance.now() - this.calmSince > BEHIND.calmMs) {
                this.calmSince = performance.now();
                this.behind = Math.max(this.behind * 0.8, BEHIND.first);
            }
            const isFast = video.playbackRate > 1;
            const rate = lag > this.behind + (isFast ? 0.1 : 0.6) ? 1.08 : 1;
            if (video.playbackRate !== rate) video.playbackRate = rate;
        }
        if (video.currentTime - buffered.start(0) > KEPT_S.above) await this.forget(KEPT_S.back);
    }

    // Forgets what was shown more than so many seconds ago.
    async forget(back) {
        const end = this.video.currentTime - back;
        if (end <= this.buffer.buffered.start(0)) return;
        this.buffer.remove(0, end);
        await this.idle();
    }
}

function joined(a, b) {
    if (a.length === 0) return b;
    const all = new Uint8Array(a.length + b.length);
    all.set(a);
    all.set(b, a.length);
    return all;
}

const fourCc = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));

// The four-character codes of the tracks of a `moov`, in their order.
function sampleEntries(view, from, to) {
    const found = [];
    for (let at = from; at + 8 <= to;) {
        const size = view.getUint32(at);
        if (size < 8) break;
        const type = fourCc(view, at + 4);
        if (['moov', 'trak', 'mdia', 'minf', 'stbl'].includes(type)) {
            found.push(...sampleEntries(view, at + 8, Math.min(at + size, to)));
        } else if (type === 'stsd' && at + 24 <= to) {
            // Version, flags and a count come before the first entry.
            found.push(fourCc(view, at + 20));
        }
        at += size;
    }
    return found;
}

