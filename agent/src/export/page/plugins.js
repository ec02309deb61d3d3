// Plugins: what works where, and what it costs.
import { $, el, text, klass, shown, keyed } from './dom.js';
import * as w from './words.js';

const WINDOW = 60;     // seconds over which the share of a core is taken
const rows = new Map();
let parts = null;

const cell = (label, ...children) => el('div', { role: 'cell' }, el('span', { class: 'label' }, `${label} `), ...children);

function row() {
  const name = el('div', { class: 'name' });
  const pipeline = el('div', { class: 'name' });
  const version = el('span', { class: 'num' });
  const perEvent = el('span', { class: 'num' });
  const share = el('span', { class: 'num' });
  const memory = el('span', { class: 'num' });
  const trouble = el('span');
  const seen = [];
  const element = el('div', { class: 'row', role: 'row' }, cell('', name), cell('in', pipeline), cell('version', version), cell('per event', perEvent), cell('of a core', share),
    cell('memory', memory), cell('', trouble));
  return {
    element,
    update({ one, nowMs }) {
      const cost = one.cost ?? null;
      text(name, one.plugin);
      text(pipeline, one.pipeline);
      text(version, one.version || w.UNKNOWN);
      text(perEvent, cost === null ? w.UNKNOWN : cost.events > 0 ? w.cost(cost.seconds / cost.events) : 'no event yet');
      if (cost) {
        // After a swap the new version counts from nothing.
        if (seen.length > 0 && seen.at(-1)[1] > cost.seconds) seen.length = 0;
        seen.push([nowMs / 1000, cost.seconds]);
        while (seen.length > 1 && seen[0][0] < nowMs / 1000 - WINDOW) seen.shift();
      }
      const [from, to] = [seen[0], seen.at(-1)];
      text(share, from && to[0] > from[0] ? `${(((to[1] - from[1]) / (to[0] - from[0])) * 100).toFixed(1)} %` : w.UNKNOWN);
      text(memory, cost && cost.memory_bytes > 0 ? w.bytes(cost.memory_bytes) : w.UNKNOWN);
      const said = [];
      if (cost && cost.errors > 0) said.push(`${w.count(cost.errors)} of ${w.plural(cost.calls, 'call')} failed`);
      if (one.last_reload?.why) said.push(`reload ${one.last_reload.outcome}: ${one.last_reload.why}`);
      if (one.shadow) said.push(`shadow ${one.shadow.version || one.shadow.source}: ${w.count(one.shadow.events.same)} same, ${w.count(one.shadow.events.differs)} differ`);
      text(trouble, said.join(' · ') || 'no trouble');
      klass(trouble, (cost && cost.errors > 0) || one.last_reload?.why ? 'sub error' : 'sub');
    },
  };
}

export function showPlugins(plugins, nowMs) {
  if (!parts) {
    const head = ['plugin', 'pipeline', 'version', 'time per event', 'of a core', 'memory', ''];
    const heads = el('div', { role: 'rowgroup' }, el('div', { class: 'row head', role: 'row' }, ...head.map((word) => el('div', { role: 'columnheader' }, word))));
    const body = el('div', { role: 'rowgroup' });
    const none = el('p', { class: 'note' }, 'No plugin is in use.');
    parts = { body, none, whole: el('div', { class: 'table plugins', role: 'table', 'aria-labelledby': 'plugins-title' }, heads, body) };
    $('plugins').replaceChildren(parts.whole, none);
  }
  shown(parts.whole, plugins.length > 0);
  shown(parts.none, plugins.length === 0);
  keyed(parts.body, rows, plugins.map((one) => ({ one, nowMs })), ({ one }) => `${one.pipeline}/${one.plugin}`, row);
}
