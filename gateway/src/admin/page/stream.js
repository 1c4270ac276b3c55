// One stream: its row, and what is behind it.

import { addressRow, encoded, publishAt, watchAt } from './addresses.js';
import { Clients, lossIn, packetsOf, protocolName, recentLoss } from './clients.js';
import { change } from './api.js';
import { arrange, clone, decided, field, say, show } from './document.js';
import {
    Graph, Readings, bits, bitsOf, codecName, draw, duration, frameRate, lossOf, milliseconds, percent,
} from './figures.js';
import { Screen } from './screen.js';

let nextId = 0;

export class Stream {
    history = new Readings();
    links = new Readings();

    constructor(info) {
        this.path = info.url.slice(1);
        this.root = clone('stream').firstElementChild;
        this.detail = this.root.querySelector('.detail');
        this.button = this.root.querySelector('.row button');
        this.detail.id = `detail-${nextId += 1}`;
        this.button.setAttribute('aria-controls', this.detail.id);
        this.button.addEventListener('click', () => this.open(this.detail.hidden));
        this.spark = this.root.querySelector('.spark');
        say(this.field('name'), this.path);
        this.info = info;
    }

    field(name) {
        return field(this.root, name);
    }

    // What is only needed by who looks closer.
    furnish() {
        this.screen = new Screen(this.root.querySelector('.screen'), this);
        this.graphs = {
            in: new Graph('Incoming', bits, 1e5),
            out: new Graph('Outgoing, to all viewers', bits, 1e5),
            loss: new Graph('Lost on the way in', percent, 0.01),
        };
        this.field('graphs').append(...Object.values(this.graphs).map((graph) => graph.root));
        this.field('watch').append(...watchAt(this.path).map(addressRow));
        this.field('publish').append(...publishAt(this.path).map(addressRow));
        this.clients = new Clients(this.field('clients'), true);
        this.field('start').addEventListener('click', () => this.startRecording());
        decided(this.field('stop'), () => change(`recorders/${this.info.id}`, 'DELETE', 'The recording was not ended'));
    }

    open(is) {
        if (is && !this.screen) this.furnish();
        this.button.setAttribute('aria-expanded', String(is));
        show(this.detail, is);
        if (is) {
            this.updateDetail();
            this.screen.want();
        } else {
            this.screen.unwant();
        }
        const { pathname, search } = location;
        history.replaceState(null, '', `${pathname}${search}${is ? `#${encoded(this.path)}` : ''}`);
    }

    startRecording() {
        const { app, name, tcUrl } = this.info;
        const vhost = tcUrl.split('/')[2];
        return change('recorders', 'POST', 'The recording was not begun', { stream: `${app}/${name}`, vhost });
    }

    remove() {
        this.screen?.unwant(true);
        this.root.remove();
    }

    isLive() {
        return this.info.state === 'live';
    }

    hasSound() {
        return this.info.audio !== null;
    }

    // Whether WebRTC's viewers are known to hear nothing of it.
    isSilentByWebRtc() {
        return this.info.remarks.some(({ about }) => about === 'webrtc.sound');
    }

    tracks = () => this.info.tracks;

    codecs() {
        return this.info.tracks.map((track) => track.codec_string).join();
    }

    // `clients` are those of the stream, as they were at `clientsAt`.
    update(info, clients, clientsAt, canRecord) {
        Object.assign(this, { info, members: clients, membersAt: clientsAt });
        show(this.field('recorder'), canRecord);
        const at = info.live_ms;
        this.history.add({ at, in: info.recv_bytes, out: info.send_bytes, frames: info.frames });
        this.publisher = clients.find((client) => client.id === info.publish.cid);
        const packets = this.publisher && packetsOf(this.publisher);
        if (packets) this.links.add({ at: clientsAt, ...packets });
        if (!packets && this.publisher) this.links = new Readings();
        const rate = this.history.perSecond('in', 3000);
        this.incoming = rate === null ? info.kbps.recv_30s * 1000 : rate * 8;
        this.viewers = clients.filter((client) => !client.publish).length;
        this.updateRow();
        if (!this.detail.hidden) this.updateDetail();
        this.screen?.update();
    }

    updateRow() {
        const { info, publisher } = this;
        const set = (name, ...rest) => say(this.field(name), ...rest);
        const state = this.field('state');
        say(state, info.state);
        state.className = `state ${info.state}`;
        const { video, audio } = info;
        const size = video?.width ? `${video.width}×${video.height}` : '';
        const rate = video && this.isLive() ? frameRate(this.history.growth('frames', 10_000)) : '';
        set('video', [video && codecName(video.codec), size, rate].filter(Boolean).join(' · ') || 'no video');
        const by = publisher ? `by ${protocolName(publisher.protocol)}` : '';
        set('audio', [audio ? codecName(audio.codec) : 'no sound', by].filter(Boolean).join(' · '));
        set('bitrate', bits(this.isLive() ? this.incoming : 0), this.isLive() && this.incoming > 0 ? '' : 'warn');
        draw(this.spark, this.history.points(bitsOf('in')), 1e5);
        set('viewers', String(this.viewers));
        set('rtt', milliseconds(publisher?.transport.rtt_s));
        const loss = publisher ? lossIn(publisher) ?? recentLoss(this.links) : { share: null, kind: '' };
        set('loss', percent(loss.share), loss.kind);
        set('uptime', duration(info.seconds));
        this.updateRecord();
    }

    // What becomes of its recording; nothing where nobody wants one.
    updateRecord() {
        const { record } = this.info;
        const mark = this.field('record');
        show(mark, Boolean(record));
        show(this.field('start'), !record);
        show(this.field('stop'), Boolean(record));
        if (!record) return;
        const isWell = record.state === 'recording' || record.state === 'waiting';
        say(mark, isWell ? 'Rec' : `Rec ${record.state}`, isWell ? '' : 'bad');
        mark.title = record.error ?? record.file ?? '';
    }

    list(name, texts) {
        const list = this.field(name);
        arrange(list, texts.map((text, i) => {
            const item = list.children[i] ?? document.createElement('li');
            say(item, text);
            return item;
        }));
    }

    updateDetail() {
        const { graphs, info } = this;
        const outgoing = this.history.perSecond('out', 3000);
        graphs.in.update(this.history.points(bitsOf('in')), this.incoming);
        graphs.out.update(this.history.points(bitsOf('out')), outgoing === null ? null : outgoing * 8);
        const hasLinks = this.links.readings.length > 0;
        show(graphs.loss.root, hasLinks);
        if (hasLinks) {
            const { dropped } = this.links.readings.at(-1);
            graphs.loss.update(this.links.points(lossOf), recentLoss(this.links).share);
            graphs.loss.name(`Lost on the way in${dropped > 0 ? `, ${dropped} packets for good` : ''}`, dropped > 0 ? 'bad' : '');
        }
        const tracks = info.tracks.map((track) => [
            track.kind, codecName(track.codec), track.codec_string, track.language,
            track.kind === 'video' && info.video ? [info.video.profile, info.video.level].join(' ').trim() : '',
            track.kind === 'audio' && info.audio?.sample_rate ? `${info.audio.sample_rate / 1000} kHz, ${info.audio.channel} ch` : '',
        ].filter(Boolean).join(' · '));
        this.list('tracks', tracks);
        // That browsers are told of another profile than they get is of no consequence.
        this.list('remarks', info.remarks.filter(({ about }) => about !== 'webrtc.profile').map(({ text }) => text));
        this.clients.update(this.members, this.membersAt);
    }
}
