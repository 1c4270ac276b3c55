// Publishes this browser's camera and microphone by WebRTC, offered by WHIP (RFC 9725).

import { encoded, here, named, ports } from './addresses.js';
import { authorization } from './api.js';
import { field, say, show } from './document.js';
import { begin, end } from './offer.js';

const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 } };
// Who has only one of the two publishes that.
const DEVICES = [{ video: PICTURE, audio: true }, { video: PICTURE }, { audio: true }];

const WORDS = {
    NotAllowedError: 'The browser was not allowed to use camera and microphone.',
    NotFoundError: 'This machine has neither camera nor microphone.',
    NotReadableError: 'Camera or microphone are in use by another program.',
    TypeError: 'The gateway did not answer.',
};

async function devices() {
    for (const wanted of DEVICES) {
        try {
            return await navigator.mediaDevices.getUserMedia(wanted);
        } catch (error) {
            if (error.name !== 'NotFoundError' || wanted === DEVICES.at(-1)) throw error;
        }
    }
    return null;
}

export class Camera {
    // What is being published: `{ media, connection, session }`.
    present = null;

    // `root` names the stream, and has a place for this.
    constructor(root) {
        this.name = root.querySelector('input');
        this.root = root.querySelector('.camera');
        this.button = this.root.querySelector('button');
        this.video = this.root.querySelector('video');
        this.credential = field(this.root, 'credential');
        // What is no secure context has no devices.
        const isPossible = Boolean(navigator.mediaDevices?.getUserMedia);
        show(this.root, 'RTCPeerConnection' in window && ports('webrtc').length > 0);
        show(this.button, isPossible);
        if (!isPossible) this.tell('A browser gives a page its camera over HTTPS, or on the gateway’s own machine.');
        this.button.addEventListener('click', () => (this.present ? this.stop('') : this.start()));
        addEventListener('pagehide', () => this.stop(''));
    }

    tell(text, kind = '') {
        say(field(this.root, 'told'), text, kind);
    }

    async start() {
        const present = {};
        this.present = present;
        this.update();
        this.tell('Waiting for the camera …');
        try {
            present.media = await devices();
            if (this.present === present) await this.publish(present);
        } catch (error) {
            if (this.present !== present) return;
            if (error.status === 401) show(this.credential, true);
            this.stop(WORDS[error.name] ?? error.message);
        } finally {
            // It was stopped meanwhile.
            if (this.present !== present) leave(present);
        }
    }

    async publish(present) {
        const { media } = present;
        const { full } = named(this.name);
        this.tell('Connecting …');
        this.video.srcObject = media;
        const connection = new RTCPeerConnection();
        present.connection = connection;
        for (const track of media.getTracks()) {
            const sender = connection.addTransceiver(track, { direction: 'sendonly', streams: [media] });
            if (track.kind === 'video') preferH264(sender);
            track.addEventListener('ended', () => this.over(present, 'The camera or the microphone is gone.'));
        }
        connection.addEventListener('connectionstatechange', () => {
            const { connectionState: state } = connection;
            if (state === 'connected' && this.present === present) this.tell(`Live as ${full}`, 'good');
            if (state === 'failed' || state === 'closed') this.over(present, 'The connection broke.');
        });
        const address = new URL(`whip/${encoded(full)}`, here);
        present.session = await begin(connection, address, { authorization: this.authorization() });
    }

    authorization() {
        const [user, secret] = [...this.credential.querySelectorAll('input')].map((input) => input.value);
        return secret ? authorization(user, secret) : '';
    }

    over(present, why) {
        if (this.present === present) this.stop(why);
    }

    stop(why) {
        const { present } = this;
        this.present = null;
        if (present) leave(present);
        this.video.srcObject = null;
        this.tell(why, 'bad');
        this.update();
    }

    update() {
        say(this.button, this.present ? 'Stop' : 'Publish camera and microphone');
        this.name.disabled = Boolean(this.present);
        show(this.video, Boolean(this.present));
    }
}

// The one that players of every other kind know, too.
function preferH264(transceiver) {
    const { codecs } = RTCRtpSender.getCapabilities('video');
    const isH264 = ({ mimeType }) => mimeType === 'video/H264';
    transceiver.setCodecPreferences([...codecs.filter(isH264), ...codecs.filter((codec) => !isH264(codec))]);
}

function leave({ media, connection, session }) {
    for (const track of media?.getTracks() ?? []) track.stop();
    if (session) end(session);
    connection?.close();
}
