// Plays HLS by the browser itself, for those that have no Media Source Extensions: iPhones.

import { overHttp } from './addresses.js';

export class HlsPlayer {
    static title = 'HLS';
    static offers = () => !('MediaSource' in window) && document.documentElement.dataset.hls !== ''
        && document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== '';

    constructor(video, stream, tell) {
        Object.assign(this, { video, stream, tell });
        this.aborter = new AbortController();
    }

    // Plays until the stream ends; throws when something is wrong.
    async run() {
        const { signal } = this.aborter;
        this.tell('Connecting …');
        this.video.srcObject = null;
        this.video.src = overHttp(this.stream.path, 'm3u8');
        // Muted, it may; and where it may not, its viewer starts it.
        this.video.play().catch(() => {});
        await new Promise((resolve, reject) => {
            signal.addEventListener('abort', reject);
            this.video.addEventListener('ended', resolve, { signal });
            this.video.addEventListener('error', () => reject(this.video.error), { signal });
        });
    }

    // Another init segment is the browser's to see to.
    suffices = () => true;

    stop() {
        this.aborter.abort();
    }
}
