// Migrations: those that run with their progress, those that need somebody, and the others folded away.
import { $, el, text, klass, attribute, shown, badge, keyed } from './dom.js';
import * as w from './words.js';

const busy = new Map();
const idle = new Map();
const IDLE = ['applied', 'undone', 'pending'];
let parts = null;

function facts(one, nowMs) {
  const done = one.places.reduce((total, place) => total + place.done, 0);
  const expected = one.places.every((place) => w.isNumber(place.expected)) ? one.places.reduce((total, place) => total + place.expected, 0) : null;
  const said = [];
  if (one.places.length > 0) said.push(expected === null ? `${w.count(done)} rows` : `${w.count(done)} of ${w.count(expected)} rows`);
  if (one.state === 'running') {
    said.push(`${w.rate(one.per_second)}`);
    if (w.isNumber(one.replication_lag_ms)) said.push(`replicas ${w.span(one.replication_lag_ms / 1000)} behind`);
  }
  if (w.isNumber(one.duration_ms)) said.push(`worked ${w.span(one.duration_ms / 1000)}`);
  if (one.retries > 0) said.push(`${w.plural(one.retries, 'retry', 'retries')}`);
  if (w.isNumber(one.finished_at_ms)) said.push(`ended ${w.since(one.finished_at_ms, nowMs)}`);
  else if (w.isNumber(one.started_at_ms)) said.push(`began ${w.since(one.started_at_ms, nowMs)}`);
  return said.join(' · ');
}

function card() {
  const state = badge();
  const title = el('strong');
  const where = el('span', { class: 'sub' });
  const bar = el('progress', { max: '1' });
  const left = el('span', { class: 'num' });
  const run = el('div', { class: 'run' }, bar, left);
  const what = el('p', { class: 'sub' });
  const said = el('p', { class: 'quiet' });
  const blocked = el('p', { class: 'error' });
  const error = el('p', { class: 'error' });
  const element = el('article', { class: 'card' }, el('div', { class: 'top' }, state.element, title, where), run, what, said, blocked, error);
  return {
    element,
    update({ one, nowMs }) {
      const look = w.known(w.MIGRATION, one.state);
      state.show(look);
      klass(element, `card ${look.tone === 'bad' ? 'bad' : 'rest'}`);
      text(title, one.name ? `${one.id} ${one.name}` : one.id);
      text(where, [one.set, one.system, one.direction === 'down' ? 'undoing' : null].filter(Boolean).join(' · '));
      const runs = one.state === 'running';
      shown(run, runs);
      if (runs) {
        const told = w.isNumber(one.progress_ratio);
        const percent = told ? `${(Math.floor(one.progress_ratio * 1000) / 10).toFixed(1)} %` : 'progress unknown';
        if (told) attribute(bar, 'value', String(one.progress_ratio));
        else bar.removeAttribute('value');
        attribute(bar, 'aria-label', `progress of ${one.id}`);
        text(left, `${percent} · ${w.isNumber(one.eta_seconds) ? `${w.span(one.eta_seconds)} left` : 'time left unknown'}`);
      }
      const step = w.isNumber(one.steps) && one.steps > 1 ? `step ${Math.min((one.step ?? 0) + 1, one.steps)} of ${one.steps}` : null;
      const doing = runs ? [step, one.what, one.phase].filter(Boolean).join(' · ') : '';
      text(what, doing);
      shown(what, doing !== '');
      const line = facts(one, nowMs);
      text(said, line);
      shown(said, line !== '');
      const waits = one.blocked?.length ?? 0;
      text(blocked, waits ? `${w.plural(waits, 'session waits', 'sessions wait')} for it or for others` : '');
      shown(blocked, waits > 0);
      const failure = one.last_error ? `${one.last_error.code}: ${one.last_error.message}` : '';
      text(error, failure);
      shown(error, failure !== '');
    },
  };
}

export function showMigrations(migrations, nowMs) {
  if (!parts) {
    const word = el('p', { class: 'note' });
    const sets = el('p', { class: 'note error' });
    const now = el('div', { class: 'cards' });
    const label = el('summary');
    const rest = el('div', { class: 'cards' });
    const fold = el('details', {}, label, rest);
    parts = { word, sets, now, label, rest, fold };
    $('migrations').replaceChildren(word, sets, now, fold);
  }
  const all = migrations?.migrations ?? [];
  const items = all.map((one) => ({ one, nowMs }));
  const rank = ({ one }) => w.known(w.MIGRATION, one.state).rank;
  const loud = items.filter(({ one }) => !IDLE.includes(one.state)).sort((a, b) => rank(a) - rank(b));
  const rest = items.filter(({ one }) => IDLE.includes(one.state)).reverse();
  const waits = migrations?.waiting_for_lock;
  const word = !migrations ? 'No migrations are configured.'
    : waits ? `Waits for the lock that ${waits.holder} holds, for ${w.span(waits.waited_ms / 1000)}.`
      : loud.length === 0 ? 'None runs, and none failed.' : '';
  text(parts.word, word);
  shown(parts.word, word !== '');
  const unread = (migrations?.sets ?? []).filter((set) => set.error).map((set) => `${set.name}: the ledger could not be read: ${set.error}`).join(' · ');
  text(parts.sets, unread);
  shown(parts.sets, unread !== '');
  const key = ({ one }) => `${one.set}/${one.id}`;
  keyed(parts.now, busy, loud, key, card);
  shown(parts.fold, rest.length > 0);
  const counts = IDLE.map((state) => [state, all.filter((one) => one.state === state).length]).filter(([, n]) => n > 0);
  text(parts.label, counts.map(([state, n]) => `${n} ${state}`).join(', '));
  keyed(parts.rest, idle, parts.fold.open ? rest : [], key, card);
  parts.fold.ontoggle = () => showMigrations(migrations, nowMs);
}
