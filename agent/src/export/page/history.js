// What the charts draw: the last quarter of an hour of each pipeline, from the stream, and before that from the monitor where
// there is one. What was not known is a gap.

const SPAN = 900;      // seconds
const GAP = 5;         // seconds without a point that are drawn as a gap
const AT_ONCE = 2;     // requests for the past at a time

const histories = new Map();
const waiting = [];
let asking = 0;
let monitored = true;

export class History {
  constructor(name) {
    this.name = name;
    this.times = [];
    this.lag = [];
    this.rate = [];
    this.events = null;
    this.asked = false;
  }

  // `events` were made durable since the agent began: the rate is that of the time since the point before.
  push(seconds, lag, events) {
    const last = this.times.at(-1);
    if (last !== undefined && seconds <= last) return;
    const isNext = this.events !== null && events >= this.events && seconds - last <= GAP;
    const rate = isNext ? (events - this.events) / (seconds - last) : null;
    this.events = events;
    this.#put(seconds, lag, rate);
  }

  #put(seconds, lag, rate) {
    const last = this.times.at(-1);
    if (last !== undefined && seconds - last > GAP) this.#add(last + 1, null, null);
    this.#add(seconds, lag, rate);
    while (this.times[0] < seconds - SPAN) {
      this.times.shift();
      this.lag.shift();
      this.rate.shift();
    }
  }

  #add(seconds, lag, rate) {
    this.times.push(seconds);
    this.lag.push(lag);
    this.rate.push(rate);
  }

  // Events a second, over the last minute as far as it is known here.
  mean() {
    const from = this.times.at(-1) - 60;
    const known = this.rate.filter((rate, index) => rate !== null && this.times[index] >= from);
    return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
  }

  // The monitor's points of before this page began to listen; asked for once, when somebody looks.
  wantPast() {
    if (this.asked || !monitored) return;
    this.asked = true;
    waiting.push(this);
    next();
  }

  // Points of both series by whole seconds, older than what is here.
  take(lag, rate) {
    const first = this.times[0] ?? Infinity;
    // The first point from the stream has no rate yet; the monitor may know it.
    if (this.rate[0] === null) this.rate[0] = rate.findLast(([atMs]) => Math.abs(atMs / 1000 - first) <= 1.5)?.[1] ?? null;
    const rows = new Map();
    const put = (points, column) => {
      for (const [atMs, value] of points) {
        const second = Math.round(atMs / 1000);
        if (second >= first - 0.5) continue;
        const row = rows.get(second) ?? [null, null];
        row[column] = value;
        rows.set(second, row);
      }
    };
    put(lag, 0);
    put(rate, 1);
    const past = new History(this.name);
    for (const [second, [one, other]] of [...rows].sort((a, b) => a[0] - b[0])) past.#put(second, one, other);
    this.times = [...past.times, ...this.times];
    this.lag = [...past.lag, ...this.lag];
    this.rate = [...past.rate, ...this.rate];
  }
}

export function history(name) {
  if (!histories.has(name)) histories.set(name, new History(name));
  return histories.get(name);
}

export const forget = (name) => histories.delete(name);

async function points(scope, name) {
  const answer = await fetch(`api/v1/series?${new URLSearchParams({ scope, name, fine: '1' })}`);
  if (answer.status === 404) monitored = false;
  if (!answer.ok) return [];
  return (await answer.json()).series.find((one) => one.name === name)?.points ?? [];
}

async function next() {
  if (asking >= AT_ONCE || waiting.length === 0) return;
  asking += 1;
  const one = waiting.shift();
  try {
    const scope = `pipeline/${one.name}`;
    const lag = await points(scope, 'lag_seconds');
    const rate = monitored ? await points(scope, 'events_per_second') : [];
    one.take(lag, rate);
  } catch {
    // The stream will tell that the agent is away; the charts begin where the page began.
  } finally {
    asking -= 1;
    next();
  }
}
