// What happened lately.

import { ask } from './api.js';
import { protocolName } from './clients.js';
import { arrange, clone, field, say } from './document.js';

// More than that is no list that anybody reads; the API has more.
const SHOWN_MAX = 200;

const WORDS = {
    published: 'published', unpublished: 'unpublished', played: 'plays', stopped: 'stopped',
    refused: 'refused', kicked: 'kicked', reload: 'reload', overload: 'overload',
    recording: 'records', recorded: 'recorded', recording_failed: 'not recorded', recording_deleted: 'file deleted',
    disk_failed: 'disk fails', disk_works: 'disk works',
};
const KINDS = { refused: 'warn', kicked: 'warn', overload: 'bad', published: 'good', recording_failed: 'bad', disk_failed: 'bad', disk_works: 'good' };

export class Events {
    last = 0;
    process = '';

    constructor(list) {
        this.list = list;
    }

    // Fetches what is new, and puts it on top.
    async look() {
        const { events, last, service } = await ask(`events?since=${this.last}`);
        if (service !== this.process) {
            // Another life of the gateway counts anew.
            const isKnown = this.process !== '';
            Object.assign(this, { process: service, last: 0 });
            this.list.replaceChildren();
            if (isKnown) return this.look();
        }
        this.last = last;
        if (events.length === 0) return undefined;
        const rows = events.slice(-SHOWN_MAX).reverse().map((event) => this.row(event));
        arrange(this.list, [...rows, ...this.list.children].slice(0, SHOWN_MAX));
        return undefined;
    }

    row(event) {
        const root = clone('event').firstElementChild;
        const at = new Date(event.at_ms);
        const time = field(root, 'time');
        say(time, at.toLocaleTimeString(undefined, { hour12: false }));
        time.dateTime = at.toISOString();
        time.title = at.toLocaleString();
        say(field(root, 'event'), WORDS[event.event] ?? event.event, KINDS[event.event] ?? '');
        const from = event.ip && `${event.ip.includes(':') ? `[${event.ip}]` : event.ip}:${event.port}`;
        const by = event.protocol && `by ${protocolName(event.protocol)}`;
        say(field(root, 'stream'), event.stream ?? '');
        const code = event.srt_code && `told ${event.srt_code}`;
        say(field(root, 'detail'), [by, from && `from ${from}`, event.detail, code].filter(Boolean).join(', '));
        return root;
    }
}
