// What is wrong, what to do about it, and what was wrong lately.
import { $, el, text, prose, klass, shown, badge, keyed } from './dom.js';
import * as w from './words.js';

// More cards than a person reads would only slow the page down: the worst come first.
const OPEN = 8;
const MOST = 100;

const firing = new Map();
const others = new Map();
const resolved = new Map();
let parts = null;

function card() {
  const severity = badge();
  const title = el('strong');
  const scope = el('span', { class: 'sub' });
  const when = el('p', { class: 'quiet' });
  const detail = el('p');
  const action = el('p');
  const muted = el('p', { class: 'quiet' });
  const element = el('article', { class: 'card' }, el('div', { class: 'top' }, severity.element, title, scope), detail, action, when, muted);
  return {
    element,
    update({ incident, nowMs }) {
      const look = w.known(w.SEVERITY, incident.severity);
      const over = incident.status === 'resolved';
      severity.show(over ? { tone: 'good', mark: '✓', word: `resolved ${look.word}` } : look);
      klass(element, `card ${over ? 'rest' : look.tone}`);
      text(title, incident.title ?? incident.kind ?? '');
      text(scope, [incident.scope, incident.rule].filter(Boolean).join(' · '));
      prose(detail, incident.detail ?? '');
      shown(detail, Boolean(incident.detail));
      prose(action, incident.action ? `What to do: ${incident.action}` : '');
      shown(action, Boolean(incident.action) && !over);
      const count = incident.count > 1 ? `, seen ${w.plural(incident.count, 'time')}` : '';
      text(when, over ? `from ${w.since(incident.since_ms, nowMs)} to ${w.since(incident.until_ms, nowMs)}${count}` : `since ${w.since(incident.since_ms, nowMs)}${count}`);
      const by = [
        incident.silenced_by ? `silenced by ${incident.silenced_by}` : null,
        incident.inhibited_by ? `explained by ${incident.inhibited_by}` : null,
      ].filter(Boolean).join(' · ');
      text(muted, by && `Nobody is told: ${by}`);
      shown(muted, by !== '' && !over);
    },
  };
}

export function showIncidents(incidents, nowMs) {
  if (!parts) {
    const word = el('p', { class: 'note' });
    const now = el('div', { class: 'cards' });
    const rest = el('div', { class: 'cards' });
    const restLabel = el('summary');
    const more = el('details', {}, restLabel, rest);
    const past = el('div', { class: 'cards' });
    const label = el('summary');
    const before = el('details', {}, label, past);
    parts = { word, now, rest, restLabel, more, past, label, before };
    $('incidents').replaceChildren(word, now, more, before);
  }
  const all = (incidents?.incidents ?? []).map((incident) => ({ incident, nowMs }));
  const fires = all.filter(({ incident }) => incident.status === 'firing');
  const over = all.filter(({ incident }) => incident.status !== 'firing');
  const word = !incidents ? 'Nothing is monitored; add monitor: {} to the configuration. What is wrong is not known here.'
    : !w.isNumber(incidents.evaluated_at_ms) ? 'No rule has looked yet.'
      : `No incident. The rules last looked ${w.since(incidents.evaluated_at_ms, nowMs)}.`;
  text(parts.word, word);
  shown(parts.word, fires.length === 0);
  const key = ({ incident }) => `${incident.id}/${incident.since_ms}`;
  keyed(parts.now, firing, fires.slice(0, OPEN), key, card);
  const more = fires.slice(OPEN);
  shown(parts.more, more.length > 0);
  text(parts.restLabel, `${w.plural(more.length, 'more incident')}${more.length > MOST ? `; the worst ${MOST} are listed` : ''}`);
  keyed(parts.rest, others, parts.more.open ? more.slice(0, MOST) : [], key, card);
  shown(parts.before, over.length > 0);
  text(parts.label, `${w.plural(over.length, 'resolved incident')} of the last day`);
  keyed(parts.past, resolved, parts.before.open ? over.slice(0, MOST) : [], key, card);
  return fires.map(({ incident }) => incident);
}
