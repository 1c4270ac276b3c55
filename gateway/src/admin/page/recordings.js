// The files of recordings, asked for while somebody looks at them; and the button that deletes one.

import { ask, change } from './api.js';
import { arrange, clone, decided, field, say, show } from './document.js';
import { bytes, duration } from './figures.js';

const PERIOD_MS = 3000;
// More rows than that are no list that anybody reads.
const SHOWN_MAX = 100;

const STATES = { recording: 'good', finished: '', failed: 'bad', interrupted: 'warn' };

class Row {
    constructor({ id, began_ms: began, file }) {
        this.root = clone('recording').firstElementChild;
        this.button = this.root.querySelector('.kick');
        decided(this.button, () => change(`recordings/${id}`, 'DELETE', 'The recording was not deleted'));
        this.button.setAttribute('aria-label', `Delete ${file}`);
        const at = new Date(began);
        const time = field(this.root, 'began');
        say(time, at.toLocaleString(undefined, { hour12: false, dateStyle: 'short', timeStyle: 'medium' }));
        time.dateTime = at.toISOString();
    }

    update(recording) {
        const set = (name, ...rest) => say(field(this.root, name), ...rest);
        set('stream', `${recording.app}/${recording.name}`);
        set('length', duration(Math.round(recording.duration_s)));
        set('size', bytes(recording.bytes));
        const why = recording.error ? `: ${recording.error}` : '';
        set('state', recording.state + why, STATES[recording.state] ?? '');
        const link = field(this.root, 'file');
        say(link, recording.file);
        // Without the slash in front: the page may lie deeper behind a proxy.
        link.href = recording.url.slice(1);
        show(this.button, recording.state !== 'recording');
    }
}

export class Recordings {
    rows = new Map();
    dueAt = 0;
    // There is a folder for them.
    arePossible = false;

    constructor(root) {
        Object.assign(this, { root, body: root.querySelector('tbody') });
        root.addEventListener('toggle', () => { this.dueAt = 0; });
    }

    // How many there are is told also while nobody looks at them.
    async look() {
        if (performance.now() < this.dueAt) return;
        const { disks } = await ask('disks');
        const disk = disks.find(({ name }) => name === 'record.dir');
        this.arePossible = Boolean(disk);
        const list = disk && await ask(`recordings?count=${this.root.open ? SHOWN_MAX : 10}`);
        this.dueAt = performance.now() + PERIOD_MS;
        show(this.root, this.arePossible);
        if (!disk) return;
        const free = disk.free_bytes === null ? '' : ` · ${bytes(disk.free_bytes)} free`;
        say(field(this.root, 'count'), `${list.total} · ${bytes(list.bytes)}${free}`);
        const hangs = disk.state === 'stalled' ? `The disk has not answered for ${duration(Math.round(disk.stalled_s))}.` : '';
        const trouble = disk.error ?? hangs;
        say(field(this.root, 'disk'), trouble);
        show(field(this.root, 'disk'), trouble !== '');
        if (!this.root.open) return;
        const rows = new Map();
        for (const recording of list.recordings) {
            const row = this.rows.get(recording.id) ?? new Row(recording);
            row.update(recording);
            rows.set(recording.id, row);
        }
        this.rows = rows;
        arrange(this.body, [...rows.values()].map((row) => row.root));
        const more = field(this.root, 'more');
        say(more, `… and ${list.total - rows.size} more, which the API lists.`);
        show(more, list.total > rows.size);
    }
}
