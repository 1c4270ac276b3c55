// Figures and how they are written; readings of counters, and graphs of these.

import { clone, field, say } from './document.js';

// Readings older than that are in no graph.
const SHOWN_MS = 120_000;
// After so long without a reading there is a gap: the page was hidden, or the gateway silent.
const GAP_MS = 6000;
// What is not known.
const NONE = '–';

export function bits(perSecond) {
    if (perSecond === null) return NONE;
    if (perSecond >= 1e9) return `${(perSecond / 1e9).toFixed(2)} Gbit/s`;
    if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(perSecond < 1e7 ? 2 : 1)} Mbit/s`;
    return `${Math.round(perSecond / 1e3)} kbit/s`;
}

export function bytes(count) {
    const mib = count / 2 ** 20;
    return mib >= 1024 ? `${(mib / 1024).toFixed(2)} GiB` : `${mib.toFixed(mib < 10 ? 1 : 0)} MiB`;
}

export function duration(seconds) {
    const [d, h, min, s] = [86400, 3600, 60, 1].map((unit, i, all) =>
        Math.floor((i ? seconds % all[i - 1] : seconds) / unit));
    if (d) return `${d} d ${h} h`;
    if (h) return `${h} h ${min} min`;
    return min ? `${min} min ${s} s` : `${s} s`;
}

export function percent(share) {
    if (share === null) return NONE;
    return share > 0 && share < 0.0005 ? '< 0.1 %' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

export const milliseconds = (seconds) => seconds === undefined ? NONE : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;

// From how many pictures came, in how many milliseconds; over less than some seconds that says little.
export function frameRate({ by, ms }) {
    if (by === 0 || ms < 4000) return '';
    const perSecond = by * 1000 / ms;
    const whole = Math.round(perSecond);
    return Math.abs(perSecond - whole) < 0.25 ? `${whole} fps` : `${perSecond.toFixed(1)} fps`;
}

// As people write them, whose API's names have neither dots nor hyphens.
const CODECS = { H264: 'H.264', AC3: 'AC-3', EAC3: 'E-AC-3', OPUS: 'Opus' };
export const codecName = (codec) => CODECS[codec.toUpperCase()] ?? codec;

// Readings of counters over the last two minutes.
export class Readings {
    readings = [];

    add(reading) {
        const last = this.readings.at(-1);
        if (last && reading.at <= last.at) return;
        // Counters begin anew with another publisher's connection, or another life of the gateway.
        const isReset = last && Object.keys(reading).some((name) => reading[name] < last[name]);
        this.readings.push({ ...reading, isReset });
        const oldest = reading.at - SHOWN_MS - 15_000;
        while (this.readings[0].at < oldest) this.readings.shift();
    }

    // The growth of a counter over the last `spanMs` that are known, and how long that took.
    growth(name, spanMs) {
        const last = this.readings.at(-1);
        let first = last;
        for (let i = this.readings.length - 1; i >= 0; i -= 1) {
            if (last.at - this.readings[i].at > spanMs) break;
            first = this.readings[i];
            if (first.isReset) break;
        }
        return { by: (last?.[name] ?? 0) - (first?.[name] ?? 0), ms: last ? last.at - first.at : 0 };
    }

    perSecond(name, spanMs) {
        const { by, ms } = this.growth(name, spanMs);
        return ms > 0 ? by * 1000 / ms : null;
    }

    // Points of a graph: age in ms and value, `null` where there is a gap.
    points(value) {
        const end = this.readings.at(-1)?.at ?? 0;
        const points = [];
        for (let i = 1; i < this.readings.length; i += 1) {
            const [a, b] = [this.readings[i - 1], this.readings[i]];
            const isGap = b.isReset || b.at - a.at > GAP_MS;
            points.push({ age: end - b.at, value: isGap ? null : value(a, b) });
        }
        return points;
    }
}

export const bitsOf = (name) => (a, b) => (b[name] - a[name]) * 8000 / (b.at - a.at);

// What was lost on the way, of all that should have come.
export function lossOf(a, b) {
    const lost = b.lost - a.lost;
    const all = lost + b.packets - a.packets;
    return all > 0 ? lost / all : 0;
}

// The least round number that is not below `value`.
function roundUp(value) {
    const unit = 10 ** Math.floor(Math.log10(value));
    return [1, 1.5, 2, 3, 5, 10].map((factor) => factor * unit).find((limit) => limit >= value);
}

// Draws points as an area and a line over two minutes; returns what the top stands for.
export function draw(svg, points, least) {
    const { width, height } = svg.viewBox.baseVal;
    const top = roundUp(Math.max(least, ...points.map(({ value }) => value ?? 0)));
    const x = (age) => (width * (1 - age / SHOWN_MS)).toFixed(2);
    const y = (value) => (height - 1 - (height - 3) * value / top).toFixed(2);
    let [line, area, from] = ['', '', null];
    const close = (age) => { if (from !== null) area += `L${x(age)} ${height}L${x(from)} ${height}Z`; };
    let last = 0;
    for (const { age, value } of points) {
        if (age > SHOWN_MS) continue;
        if (value === null) {
            close(last);
            from = null;
            continue;
        }
        const point = `${x(age)} ${y(value)}`;
        line += from === null ? `M${point}` : `L${point}`;
        area += from === null ? `M${point}` : `L${point}`;
        from ??= age;
        last = age;
    }
    close(last);
    svg.querySelector('.line').setAttribute('d', line);
    svg.querySelector('.area').setAttribute('d', area);
    return top;
}

export class Graph {
    constructor(label, format, least) {
        this.root = clone('graph').firstElementChild;
        Object.assign(this, { format, least });
        this.name(label);
    }

    name(label, kind = '') {
        say(field(this.root, 'label'), label, kind);
    }

    update(points, now) {
        const top = draw(this.root.querySelector('svg'), points, this.least);
        say(field(this.root, 'top'), this.format(top));
        say(field(this.root, 'now'), this.format(now));
    }
}
