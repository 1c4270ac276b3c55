// Who is connected, and the button that ends it.

import { kick } from './api.js';
import { arrange, clone, decided, field, say, show } from './document.js';
import { Readings, bits, duration, milliseconds, percent } from './figures.js';

// More rows than that are no list that anybody reads.
const SHOWN_MAX = 200;

const PROTOCOLS = { srt: 'SRT', rtmp: 'RTMP', flv: 'FLV', ts: 'MPEG-TS', mp4: 'MP4', udp: 'UDP', hls: 'HLS', webrtc: 'WebRTC' };
export const protocolName = (protocol) => PROTOCOLS[protocol] ?? protocol;

// Packets that came, packets that were lost on the way to us or from us, and those that stayed lost.
export function packetsOf(client) {
    const { transport: t } = client;
    if (t.recv_packets === undefined) return null;
    return client.publish
        ? { packets: t.recv_unique_packets, lost: t.recv_loss_packets, dropped: t.recv_dropped_packets }
        : { packets: t.sent_unique_packets, lost: t.send_loss_packets, dropped: t.send_dropped_packets };
}

class ClientRow {
    constructor(id) {
        this.root = clone('client').firstElementChild;
        this.history = new Readings();
        decided(this.root.querySelector('.kick'), () => kick(id));
    }

    update(client, now) {
        const packets = packetsOf(client);
        this.history.add({ at: now, bytes: client.publish ? client.recv_bytes : client.send_bytes, ...packets });
        const set = (name, ...rest) => say(field(this.root, name), ...rest);
        const from = client.ip.includes(':') ? `[${client.ip}]:${client.port}` : `${client.ip}:${client.port}`;
        set('does', `${client.publish ? 'publishes' : 'plays'} by ${protocolName(client.protocol)}`);
        set('stream', client.url.slice(1));
        set('from', from);
        set('age', duration(client.alive));
        const rate = this.history.perSecond('bytes', 5000);
        set('rate', bits(rate === null ? null : rate * 8));
        // Cells without anything to tell are left out on narrow screens.
        set('rtt', client.transport.rtt_s === undefined ? '' : milliseconds(client.transport.rtt_s));
        const loss = lossIn(client) ?? recentLoss(this.history);
        set('loss', loss.share === null ? '' : percent(loss.share), loss.kind);
        set('skips', client.publish ? '' : String(client.skips), client.skips > 0 ? 'warn' : '');
        this.root.querySelector('.kick').setAttribute('aria-label', `Kick ${from}, which ${field(this.root, 'does').textContent}`);
    }
}

// The share that was lost in the last ten seconds, zero while nobody sends, and how bad that is: what stays lost is seen.
export function recentLoss(history) {
    if (history.readings.at(-1)?.packets === undefined) return { share: null, kind: '' };
    const [lost, packets, dropped] = ['lost', 'packets', 'dropped'].map((name) => history.growth(name, 10_000).by);
    const share = lost + packets > 0 ? lost / (lost + packets) : 0;
    return { share, kind: dropped > 0 ? 'bad' : kindOf(share) };
}

// The share that is lost where the transport tells that itself, which sends again what it can.
export function lossIn({ publish, transport }) {
    const share = publish ? transport.received_loss_ratio : transport.sent_loss_ratio;
    return share === undefined ? null : { share, kind: kindOf(share) };
}

const kindOf = (share) => (share > 0.05 ? 'bad' : share > 0.01 ? 'warn' : '');

export class Clients {
    rows = new Map();

    constructor(root, isAlone) {
        root.append(clone('clients'));
        root.classList.toggle('alone', isAlone);
        Object.assign(this, { root, body: root.querySelector('tbody') });
    }

    update(clients, now) {
        const shown = clients.slice(0, SHOWN_MAX);
        const rows = new Map();
        for (const client of shown) {
            const row = this.rows.get(client.id) ?? new ClientRow(client.id);
            row.update(client, now);
            rows.set(client.id, row);
        }
        this.rows = rows;
        arrange(this.body, [...rows.values()].map((row) => row.root));
        const more = field(this.root, 'more');
        say(more, `… and ${clients.length - shown.length} more.`);
        show(more, clients.length > shown.length);
    }
}
