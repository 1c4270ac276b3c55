// The page at /: asks the API again and again while somebody looks, and shows what it tells.
//
//   look ─▶ api ─┬▶ stream: figures, graphs, addresses ─▶ clients
//                │     └▶ screen ─▶ mp4
//                └▶ clients

import { howToPublish } from './page/addresses.js';
import { Failure, ask, forgetCredential, hasCredential, notice, signedIn } from './page/api.js';
import { Clients } from './page/clients.js';
import { arrange, byId, field, say, show } from './page/document.js';
import { Events } from './page/events.js';
import { Readings, bits, bytes, duration } from './page/figures.js';
import { Recordings } from './page/recordings.js';
import { Stream } from './page/stream.js';
import { Camera } from './page/whip.js';

const PERIOD_MS = 1000;
// As many as the API gives at once.
const LIST_MAX = 1000;
// With fewer streams nobody needs to search.
const FILTER_FROM = 8;

const streams = new Map();
const totals = new Readings();
const section = byId('streams');
const filter = section.querySelector('.filter');
const events = new Events(byId('events').querySelector('ol'));
const recordings = new Recordings(byId('recordings'));
let connections = { list: [], total: 0, at: 0, dueAt: 0 };
const allClients = new Clients(field(byId('connections'), 'table'), false);

function updateStreams({ streams: infos, total }, clients, clientsAt) {
    const members = byStream(clients);
    for (const [id, stream] of streams) {
        if (!infos.some((info) => info.id === id)) {
            stream.remove();
            streams.delete(id);
        }
    }
    const wanted = wantedPath();
    for (const info of infos) {
        const isNew = !streams.has(info.id);
        if (isNew) streams.set(info.id, new Stream(info));
        const stream = streams.get(info.id);
        stream.update(info, members.get(info.id) ?? [], clientsAt, recordings.arePossible);
        if (isNew && stream.path === wanted) stream.open(true);
    }
    const sorted = [...streams.values()].sort((a, b) => a.path < b.path ? -1 : 1);
    arrange(section.querySelector('.streams'), sorted.map((stream) => stream.root));
    const part = filter.querySelector('input').value.toLowerCase();
    for (const stream of sorted) show(stream.root, stream.path.toLowerCase().includes(part));
    show(filter, sorted.length >= FILTER_FROM || part !== '');
    const more = field(section, 'more');
    say(more, `… and ${total - infos.length} more, which the API lists.`);
    show(more, total > infos.length);
}

function byStream(clients) {
    const groups = new Map();
    for (const client of clients) {
        const group = groups.get(client.stream);
        if (group) group.push(client); else groups.set(client.stream, [client]);
    }
    return groups;
}

// The stream that the address of the page names: `/#live/cam`.
function wantedPath() {
    try {
        return decodeURIComponent(location.hash.slice(1));
    } catch {
        return '';
    }
}

function updateTotals({ data }, clients) {
    const { self, system } = data;
    totals.add({ at: data.now_ms, in: system.srs_recv_bytes, out: system.srs_send_bytes });
    const live = [...streams.values()].filter((stream) => stream.isLive()).length;
    const rate = (name) => {
        const perSecond = totals.perSecond(name, 5000);
        return bits(perSecond === null ? null : perSecond * 8);
    };
    const figures = {
        live: String(live),
        viewers: String(clients.filter((client) => !client.publish).length),
        incoming: rate('in'),
        outgoing: rate('out'),
        memory: bytes(self.mem_kbyte * 1024),
        uptime: duration(self.srs_uptime),
    };
    for (const [name, text] of Object.entries(figures)) say(field(byId('totals'), name), text);
    say(field(document.querySelector('footer'), 'version'), `Thalweg ${self.version}`);
    document.title = live ? `${live} live · Thalweg` : 'Thalweg';
}

async function look() {
    const areDue = performance.now() >= connections.dueAt;
    const [list, summary, latest] = await Promise.all([
        ask(`streams?count=${LIST_MAX}`), ask('summaries'), areDue ? ask(`clients?count=${LIST_MAX}`) : null, events.look(), recordings.look(),
    ]);
    if (latest) {
        // Many of them are much to tell: each hundred more makes it a second longer until the next time.
        const dueAt = performance.now() + PERIOD_MS * Math.floor(latest.clients.length / 100);
        connections = { list: latest.clients, total: latest.total, at: summary.data.now_ms, dueAt };
    }
    updateStreams(list, connections.list, connections.at);
    updateTotals(summary, connections.list);
    if (byId('connections').open) allClients.update(connections.list, connections.at);
    say(field(byId('connections'), 'count'), String(connections.total));
    show(section, streams.size > 0);
    show(byId('empty'), streams.size === 0);
    for (const id of ['totals', 'connections', 'events', 'publish']) show(byId(id), true);
    show(field(document.querySelector('footer'), 'sign-out'), hasCredential());
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function visible() {
    if (!document.hidden) return null;
    return new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }));
}

// Until there is a credential, who has none sees where to publish, and no more.
async function needCredential(why) {
    forgetCredential();
    for (const id of ['streams', 'empty', 'totals', 'recordings', 'connections', 'events']) show(byId(id), false);
    show(byId('publish'), true);
    byId('publish').open = true;
    await signedIn(why, false);
}

async function follow() {
    let silentSince = null;
    let isFirst = true;
    for (;;) {
        await visible();
        try {
            await look();
            if (isFirst && streams.size === 0) byId('publish').open = true;
            isFirst = false;
            if (silentSince !== null) notice('');
            silentSince = null;
        } catch (failure) {
            if (!(failure instanceof Failure)) {
                notice(`This page has failed, please load it again: ${failure.message}.`);
                throw failure;
            }
            if (failure.status === 401) {
                await needCredential(failure.message);
                continue;
            }
            silentSince ??= Date.now();
            const what = failure.status === 0 ? 'The gateway has not answered' : `The gateway answered “${failure.message}”`;
            notice(`${what} for ${duration((Date.now() - silentSince) / 1000)}. Trying again; what is below may be out of date.`);
        }
        document.body.classList.toggle('stale', silentSince !== null);
        await pause(PERIOD_MS);
    }
}

filter.querySelector('input').addEventListener('input', () => {
    const part = filter.querySelector('input').value.toLowerCase();
    for (const stream of streams.values()) show(stream.root, stream.path.toLowerCase().includes(part));
});
field(document.querySelector('footer'), 'sign-out').addEventListener('click', () => {
    forgetCredential();
    location.reload();
});
howToPublish(byId('publish'));
new Camera(byId('publish'));
follow();
