// What things are called and how figures are written. Nothing here touches the page.

// The states of lag: the class of their colour, a mark, the word, and their place when the worst come first.
export const LAG = {
  stalled: { tone: 'bad', mark: '✕', word: 'stalled', rank: 0 },
  behind: { tone: 'warn', mark: '↓', word: 'behind', rank: 1 },
  unknown: { tone: 'unsure', mark: '?', word: 'unknown', rank: 2 },
  caught_up: { tone: 'good', mark: '✓', word: 'caught up', rank: 3 },
};

export const SEVERITY = {
  critical: { tone: 'bad', mark: '!', word: 'critical' },
  warning: { tone: 'warn', mark: '△', word: 'warning' },
  info: { tone: 'rest', mark: 'i', word: 'info' },
};

export const MIGRATION = {
  running: { tone: 'warn', mark: '▸', word: 'running', rank: 0 },
  failed: { tone: 'bad', mark: '✕', word: 'failed', rank: 1 },
  changed: { tone: 'bad', mark: '≠', word: 'changed', rank: 2 },
  missing: { tone: 'bad', mark: '?', word: 'missing', rank: 3 },
  out_of_order: { tone: 'warn', mark: '↕', word: 'out of order', rank: 4 },
  pending: { tone: 'rest', mark: '…', word: 'pending', rank: 5 },
  undone: { tone: 'rest', mark: '↩', word: 'undone', rank: 6 },
  applied: { tone: 'good', mark: '✓', word: 'applied', rank: 7 },
};

const DOUBTS = {
  no_partitions: 'no partition is assigned to this agent',
  no_end_offset: 'the end of a partition was never seen',
  no_frontier: 'it is not known from where this agent reads',
  end_offset_old: 'the end of a partition was last seen too long ago',
  end_offset_went_back: 'the end of a partition went back',
  no_sign_of_life: 'no heartbeat or event was ever seen',
  sign_of_life_old: 'the newest heartbeat or event is too old',
};

export const UNKNOWN = 'unknown';

export const doubt = (word) => DOUBTS[word] ?? word;

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

// A state that this page does not know is shown by its own word.
export const known = (table, word) => table[word] ?? { tone: 'rest', mark: '·', word: String(word ?? UNKNOWN).replaceAll('_', ' '), rank: 9 };

export function count(value) {
  if (!isNumber(value)) return UNKNOWN;
  if (Math.abs(value) < 1e5) return Math.round(value).toLocaleString('en');
  for (const [size, sign] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(1)} ${sign}`;
  }
  return `${(value / 1e3).toFixed(0)} k`;
}

export function rate(value) {
  if (!isNumber(value)) return UNKNOWN;
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(value)}/s`;
}

// Seconds as people say them.
export function span(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  if (seconds === 0) return '0 s';
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// What one event costs.
export function cost(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  if (seconds < 1e-6) return `${(seconds * 1e9).toFixed(0)} ns`;
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(seconds < 1e-5 ? 2 : 1)} µs`;
  return `${(seconds * 1e3).toFixed(1)} ms`;
}

export function bytes(value) {
  if (!isNumber(value)) return UNKNOWN;
  if (value < 1024) return `${value} B`;
  if (value < 1 << 20) return `${(value / 1024).toFixed(0)} KiB`;
  return value < 2 ** 30 ? `${(value / (1 << 20)).toFixed(1)} MiB` : `${(value / 2 ** 30).toFixed(1)} GiB`;
}

export function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString('en-GB');
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString('en-CA')} ${time}`;
}

// Relative and absolute.
export function since(ms, nowMs) {
  if (!isNumber(ms)) return UNKNOWN;
  const seconds = (nowMs - ms) / 1000;
  const relative = Math.abs(seconds) < 1 ? 'just now' : seconds < 0 ? `in ${span(Math.round(-seconds))}` : `${span(Math.round(seconds))} ago`;
  return `${relative} (${clock(ms)})`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export const sum = (table) => Object.values(table ?? {}).reduce((total, value) => total + value, 0);
