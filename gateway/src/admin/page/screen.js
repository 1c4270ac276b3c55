// The picture of one stream, and what there is to say instead of it.

import { field, say, show } from './document.js';
import { HlsPlayer } from './hls.js';
import { Mp4Player, Unplayable } from './mp4.js';
import { WhepPlayer } from './whep.js';

// The ways to play, the best first. When one of them does not come about, the next one is tried.
const WAYS = [WhepPlayer, Mp4Player, HlsPlayer];

const RETRY_MS = 3000;
// A picture that stands still for so long while its stream is live is given up.
const STUCK_MS = 10_000;

// Plays as long as somebody wants it.
export class Screen {
    isWanted = false;
    player = null;
    retryAt = 0;
    // What the stream was when playing it was of no use.
    refused = null;
    // Ways that did not come about.
    failed = new Set();
    // Ways that play only a part of it: for when there is no other.
    partial = new Set();
    // When the picture last moved, and where it was.
    moved = { at: 0, time: 0 };

    constructor(root, stream) {
        Object.assign(this, { root, stream, video: root.querySelector('video'), message: root.querySelector('.message') });
        // A stream that is paused goes on without its viewer: nothing is fetched until it is wanted again.
        this.video.addEventListener('pause', () => {
            if (!this.player || this.video.ended || this.video.error) return;
            if (!document.hidden) this.isWanted = false;
            this.close(this.isWanted ? '' : 'Paused', { keepsPicture: true });
        });
        this.video.addEventListener('play', () => this.want());
        this.video.addEventListener('playing', () => this.tellKind());
    }

    want() {
        this.isWanted = true;
        this.open();
    }

    // `isOver`: the stream is.
    unwant(isOver = false) {
        this.isWanted = false;
        this.failed.clear();
        this.partial.clear();
        this.close('', { isOver });
    }

    tell(text) {
        say(this.message, text);
        show(this.message, text !== '');
    }

    tellKind() {
        if (this.player) this.tell(this.video.videoWidth > 0 ? '' : 'Sound only');
    }

    async open() {
        if (this.player) return;
        const ways = WAYS.filter((way) => way.offers(this.stream) && !this.failed.has(way));
        const [Way, next] = [...ways.filter((way) => !this.partial.has(way)), ...ways.filter((way) => this.partial.has(way))];
        if (!Way) {
            this.tell('This browser has no way to play this. Other players have, by one of the addresses below.');
            return;
        }
        const player = new Way(this.video, this.stream, (text) => this.tell(text), this.partial.has(Way));
        this.player = player;
        this.video.controls = true;
        this.moved = { at: performance.now(), time: this.video.currentTime };
        let [text, isEnd, isFinal, isPartial] = ['The stream has ended.', true, false, false];
        try {
            await player.run();
        } catch (error) {
            ({ isFinal = false, isPartial = false } = error);
            isEnd = false;
            text = error instanceof Unplayable ? error.message : this.words(error);
        }
        if (player !== this.player) return;
        if (!isEnd && (next || isPartial)) {
            this.close('');
            (isPartial ? this.partial : this.failed).add(Way);
            this.open();
            return;
        }
        this.refused = isFinal ? this.stream.codecs() : null;
        this.retryAt = performance.now() + RETRY_MS;
        this.close(text, { keepsPicture: isEnd, isOver: isEnd });
    }

    words(error) {
        if (error instanceof MediaError) {
            return `The browser could not decode the stream (${error.message || `code ${error.code}`}). Trying again …`;
        }
        return `The connection broke (${error.message}). Trying again …`;
    }

    close(text, { keepsPicture = false, isOver = false } = {}) {
        const { player, video } = this;
        this.player = null;
        player?.stop(isOver);
        if (!keepsPicture) {
            video.srcObject = null;
            if (video.hasAttribute('src')) {
                video.removeAttribute('src');
                video.load();
            }
        }
        video.controls = keepsPicture;
        this.tell(text);
    }

    // Looks whether there is something to do, and what to tell; called each time the API was asked.
    update() {
        const isDue = performance.now() >= this.retryAt && this.stream.codecs() !== this.refused;
        if (this.isWanted && !this.player && !document.hidden && this.stream.isLive() && isDue) this.open();
        if (this.player) this.watch();
        say(field(this.root, 'playback'), this.playback());
    }

    watch() {
        const [now, time] = [performance.now(), this.video.currentTime];
        if (!this.player.suffices()) {
            this.partial.add(this.player.constructor);
            this.close('');
            this.open();
        } else if (!this.stream.isLive()) {
            this.moved = { at: now, time };
            this.tell('The publisher is gone. Waiting for it to come back …');
        } else if (time !== this.moved.time) {
            this.moved = { at: now, time };
            this.tellKind();
        } else if (now - this.moved.at > STUCK_MS) {
            if (this.player.constructor !== WAYS.at(-1)) this.failed.add(this.player.constructor);
            this.close('The picture does not go on. Trying again …');
        }
    }

    playback() {
        const { video, player } = this;
        if (!player || video.readyState < 2) return '';
        const end = video.buffered.length > 0 ? video.buffered.end(video.buffered.length - 1) : video.currentTime;
        const behind = Math.max(0, end - video.currentTime);
        const { droppedVideoFrames: dropped } = video.getVideoPlaybackQuality();
        const parts = [player.constructor.title, `${dropped} pictures dropped`];
        if (player instanceof Mp4Player) parts.splice(1, 0, `${behind.toFixed(1)} s in the buffer`);
        if (this.partial.has(player.constructor)) parts.push('without its sound');
        else if (video.muted) parts.push('muted');
        return parts.join(' · ');
    }
}
