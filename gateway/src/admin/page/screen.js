// The picture of one stream, and what there is to say instead of it.

import { field, say, show } from './document.js';
import { Mp4Player, Unplayable } from './mp4.js';

// The ways to play, the best first; one that does not offer a stream, or a browser that has no such way, is passed over.
const WAYS = [Mp4Player];

const RETRY_MS = 3000;

// The picture of one stream: plays as long as somebody wants it.
export class Screen {
    constructor(root, stream) {
        Object.assign(this, { root, stream, video: root.querySelector('video'), message: root.querySelector('.message') });
        Object.assign(this, { isWanted: false, player: null, retryAt: 0, refused: null });
        // A stream that is paused goes on without its viewer: nothing is fetched until it is wanted again.
        this.video.addEventListener('pause', () => {
            if (!this.player || this.video.ended || this.video.error) return;
            if (!document.hidden) this.isWanted = false;
            this.close(this.isWanted ? '' : 'Paused', true);
        });
        this.video.addEventListener('play', () => this.want());
        this.video.addEventListener('playing', () => this.tell(this.video.videoWidth > 0 ? '' : 'Sound only'));
    }

    want() {
        this.isWanted = true;
        this.open();
    }

    unwant() {
        this.isWanted = false;
        this.close('');
    }

    tell(text) {
        say(this.message, text);
        show(this.message, text !== '');
    }

    async open() {
        if (this.player) return;
        const Way = WAYS.find((way) => way.offers(this.stream));
        if (!Way) {
            this.tell('This browser has no Media Source Extensions. The addresses below can be played elsewhere.');
            return;
        }
        const player = new Way(this.video, this.stream, (text) => this.tell(text));
        this.player = player;
        this.video.controls = true;
        let [text, isEnd, isFinal] = ['The stream has ended.', true, false];
        try {
            await player.run();
        } catch (error) {
            if (player !== this.player) return;
            ({ isFinal = false } = error);
            isEnd = false;
            text = error instanceof Unplayable ? error.message : this.words(error);
        }
        if (player !== this.player) return;
        this.refused = isFinal ? this.stream.codecs() : null;
        this.retryAt = performance.now() + RETRY_MS;
        this.close(text, isEnd);
    }

    words(error) {
        if (error instanceof MediaError) {
            return `The browser could not decode the stream (${error.message || `code ${error.code}`}). Trying again …`;
        }
        return `The connection broke (${error.message}). Trying again …`;
    }

    close(text, keepsPicture = false) {
        const { player, video } = this;
        this.player = null;
        player?.stop();
        if (!keepsPicture && video.hasAttribute('src')) {
            video.removeAttribute('src');
            video.load();
        }
        video.controls = keepsPicture;
        this.tell(text);
    }

    // Looks whether there is something to do, and what to tell; called each time the API was asked.
    update() {
        const isDue = performance.now() >= this.retryAt && this.stream.codecs() !== this.refused;
        if (this.isWanted && !this.player && !document.hidden && this.stream.isLive() && isDue) this.open();
        say(field(this.root, 'playback'), this.playback());
    }

    playback() {
        const { video } = this;
        if (!this.player || video.readyState < 2 || video.buffered.length === 0) return '';
        const behind = Math.max(0, video.buffered.end(video.buffered.length - 1) - video.currentTime);
        const { droppedVideoFrames: dropped } = video.getVideoPlaybackQuality();
        return `${behind.toFixed(1)} s in the buffer · ${dropped} pictures dropped${video.muted ? ' · muted' : ''}`;
    }
}
