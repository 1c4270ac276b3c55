// Plays by WebRTC, offered by WHEP (draft-ietf-wish-whep): the least delay that a browser can have.

import { encoded, here, ports } from './addresses.js';
import { Unplayable } from './mp4.js';
import { Refused, begin, end } from './offer.js';

// From the answer to the first packet; where a network lets nothing through there is none.
const CONNECT_MS = 5000;

export class WhepPlayer {
    static title = 'WebRTC';
    static offers(stream) {
        if (!('RTCPeerConnection' in window) || ports('webrtc').length === 0) return false;
        const name = stream.info.video?.codec.replace('HEVC', 'H265');
        const { codecs } = RTCRtpReceiver.getCapabilities('video');
        return !name || codecs.some(({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
    }

    // `isSettled`: it plays without its sound, too, as nothing else plays it.
    constructor(video, stream, tell, isSettled = false) {
        Object.assign(this, { video, stream, tell, isSettled });
        this.aborter = new AbortController();
    }

    // Plays until the stream ends; throws when something is wrong.
    async run() {
        this.tell('Connecting …');
        const connection = new RTCPeerConnection();
        this.connection = connection;
        connection.addTransceiver('video', { direction: 'recvonly' });
        this.audio = connection.addTransceiver('audio', { direction: 'recvonly' });
        const media = new MediaStream(connection.getReceivers().map((receiver) => receiver.track));
        await this.begin(connection);
        if (!this.suffices()) throw Object.assign(new Unplayable('Its sound does not go by WebRTC.'), { isPartial: true });
        this.video.srcObject = media;
        // Muted, it may; and where it may not, its viewer starts it.
        this.video.play().catch(() => {});
        const timer = setTimeout(() => {
            if (connection.connectionState !== 'connected') this.fail('Media do not get through.');
        }, CONNECT_MS);
        await this.ended(connection).finally(() => clearTimeout(timer));
    }

    // Whether all that the stream has is there. Its sound may have come to be known later than its pictures.
    suffices() {
        if (this.isSettled || !this.stream.hasSound()) return true;
        const direction = this.audio?.currentDirection ?? null;
        return (direction === null || direction === 'recvonly') && !this.stream.isSilentByWebRtc();
    }

    async begin(connection) {
        const address = new URL(`whep/${encoded(this.stream.path)}`, here);
        try {
            this.session = await begin(connection, address, { signal: this.aborter.signal });
        } catch (error) {
            throw error instanceof Refused ? new Unplayable(error.message) : error;
        }
    }

    ended(connection) {
        return new Promise((resolve, reject) => {
            this.fail = (text) => reject(new Unplayable(text));
            connection.addEventListener('connectionstatechange', () => {
                if (connection.connectionState === 'closed') resolve();
                if (connection.connectionState === 'failed') this.fail('The connection broke.');
            });
        });
    }

    stop(isOver) {
        this.aborter.abort();
        const close = () => this.connection?.close();
        if (!this.session || isOver) return close();
        // First, since the session ends with the connection, and is not found then.
        return end(this.session).finally(close);
    }
}
