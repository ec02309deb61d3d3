// The pipelines: a row each, with charts; a row opens to show the rest.
import { $, el, text, klass, attribute, shown, badge, keyed } from './dom.js';
import { Chart } from './charts.js';
import { history, forget } from './history.js';
import * as w from './words.js';

const LAG_LOOK = { title: 'lag', stroke: '--lag', fill: '--lag-fill', say: w.span };
const RATE_LOOK = { title: 'events made durable', stroke: '--stroke', fill: '--fill', say: w.rate };

const rows = new Map();
let table = null;
let last = null;

const lagSeconds = (lag) => (w.isNumber(lag.time_lag_ms) ? lag.time_lag_ms / 1000 : null);

// The figure is proven only when caught up; otherwise it is a bound.
function lagWords(lag) {
  const seconds = lagSeconds(lag);
  if (seconds === null) return w.UNKNOWN;
  return lag.state === 'caught_up' ? w.span(seconds) : `≤ ${w.span(seconds)}`;
}

function why(pipeline) {
  if (pipeline.state !== 'running' || !pipeline.readiness.ready) {
    return pipeline.readiness.reasons.join(' · ') || pipeline.state;
  }
  return pipeline.lag.state === 'unknown' ? pipeline.lag.doubts.map(w.doubt).join(' · ') : '';
}

const cell = (name, ...children) => el('div', { class: name, role: 'cell' }, ...children);

function row(pipeline) {
  const name = pipeline.pipeline;
  const past = history(name);
  const state = badge();
  const doing = badge();
  const open = el('button', { type: 'button', 'aria-expanded': 'false' }, name);
  const way = el('div', { class: 'sub' });
  const trouble = el('div', { class: 'sub error' });
  const lag = el('div', { class: 'num' });
  const messages = el('div', { class: 'sub num' });
  const rate = el('div', { class: 'num' });
  const arriving = el('div', { class: 'sub num' });
  const dead = el('span', { class: 'num' });
  const lagChart = new Chart('spark', { ...LAG_LOOK, title: `lag of ${name}` }, () => [past.times, past.lag]);
  const rateChart = new Chart('spark', { ...RATE_LOOK, title: `events of ${name}` }, () => [past.times, past.rate]);
  lagChart.onSeen = () => past.wantPast();
  const line = el('div', { class: 'row', role: 'row' },
    cell('state', state.element, doing.element),
    cell('name', open, way, trouble),
    cell('lag', el('span', { class: 'label' }, 'lag '), lag, messages),
    cell('lagspark', lagChart.element),
    cell('rate', el('span', { class: 'label' }, 'made durable '), rate, arriving),
    cell('ratespark', rateChart.element),
    cell('dead', el('span', { class: 'label' }, 'dead letters '), dead));
  const element = el('div', { role: 'rowgroup' }, line);
  let more = null;
  const toggle = () => {
    if (more) {
      more.end();
      more = null;
    } else {
      more = opened(name, past);
      element.append(more.element);
    }
    attribute(open, 'aria-expanded', String(more !== null));
  };
  open.addEventListener('click', toggle);
  return {
    element,
    update(now) {
      const look = w.known(w.LAG, now.lag.state);
      state.show(look);
      doing.show({ tone: 'bad', mark: '!', word: now.state === 'running' ? 'not ready' : now.state });
      shown(doing.element, !now.readiness.ready);
      text(way, `${now.source} → ${now.target}`);
      const because = why(now);
      text(trouble, because);
      shown(trouble, because !== '');
      klass(trouble, now.readiness.ready ? 'sub' : 'sub error');
      text(lag, lagWords(now.lag));
      const eta = now.lag.catchup_eta_seconds;
      const left = w.isNumber(now.lag.messages) ? w.plural(now.lag.messages, 'message') : 'messages unknown';
      text(messages, w.isNumber(eta) && eta > 0 ? `${left}, done in ${w.span(eta)}` : left);
      // Before the agent knows its own mean, what was counted while this page listened.
      text(rate, w.rate(now.lag.consumed_per_second ?? past.mean()));
      text(arriving, `arriving ${w.rate(now.lag.produced_per_second)}`);
      text(dead, w.count(now.dead_letters_stored));
      klass(dead, now.dead_letters_stored > 0 ? 'num error' : 'num');
      lagChart.draw();
      rateChart.draw();
      more?.update(now);
    },
    end() {
      lagChart.end();
      rateChart.end();
      more?.end();
      forget(name);
    },
  };
}

// What an open row shows beneath.
function opened(name, past) {
  const charts = [
    new Chart('chart', { ...LAG_LOOK, title: `lag of ${name}` }, () => [past.times, past.lag]),
    new Chart('chart', { ...RATE_LOOK, title: `events of ${name}` }, () => [past.times, past.rate]),
  ];
  const facts = el('dl', { class: 'facts' });
  const partitions = el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `partitions of ${name}` });
  const values = new Map();
  const fact = (label, value) => {
    if (!values.has(label)) {
      values.set(label, el('dd'));
      facts.append(el('dt', {}, label), values.get(label));
    }
    text(values.get(label), value);
  };
  const load = async () => {
    try {
      const answer = await fetch(`api/v1/pipelines/${encodeURIComponent(name)}`);
      if (answer.ok) partitions.replaceChildren(partitionTable((await answer.json()).lag.partitions));
    } catch {
      // The stream tells that the agent is away.
    }
  };
  load();
  const timer = setInterval(load, 5000);
  const element = el('div', { class: 'more' },
    el('div', { class: 'charts' }, el('div', {}, el('h3', {}, 'Lag'), charts[0].element), el('div', {}, el('h3', {}, 'Events made durable'), charts[1].element)),
    facts, partitions);
  return {
    element,
    update(now) {
      const stored = w.sum(now.totals.dead_letters) > 0
        ? Object.entries(now.totals.dead_letters).map(([reason, n]) => `${reason.replaceAll('_', ' ')} ${w.count(n)}`).join(', ') : 'none';
      const nowMs = last.now_ms;
      fact('doing', `${now.state}${now.readiness.ready ? '' : `: ${now.readiness.reasons.join(' · ')}`}`);
      if (now.migration_id) fact('migration', now.migration_id);
      fact('consumer group', now.group || w.UNKNOWN);
      fact('proof', w.isNumber(now.lag.proof_age_ms) ? `all was visible ${w.span(now.lag.proof_age_ms / 1000)} ago` : 'none yet');
      fact('last batch', w.since(now.last_batch_at_ms, nowMs));
      fact('since the start', `${w.count(w.sum(now.totals.events))} events, ${w.count(now.totals.rows)} rows, ${w.bytes(now.totals.bytes)}, ${w.count(now.totals.dropped)} dropped`);
      fact('dead letters since the start', stored);
      if (now.lag.clock_skew_ms > 0) fact('clock skew', `the source is ${w.span(now.lag.clock_skew_ms / 1000)} ahead`);
      charts.forEach((chart) => chart.draw());
    },
    end() {
      clearInterval(timer);
      charts.forEach((chart) => chart.end());
      element.remove();
    },
  };
}

function partitionTable(partitions) {
  const head = ['topic', 'partition', 'state', 'lag', 'messages', 'durable up to', 'end'];
  const body = partitions.map((one) => {
    const lag = w.isNumber(one.time_lag_ms) ? w.span(one.time_lag_ms / 1000) : w.UNKNOWN;
    const cells = [one.topic, String(one.partition), w.known(w.LAG, one.state).word, lag, w.count(one.messages), w.isNumber(one.next) ? String(one.next) : w.UNKNOWN,
      w.isNumber(one.end) ? String(one.end) : w.UNKNOWN];
    return el('tr', {}, ...cells.map((value) => el('td', {}, value)));
  });
  return el('table', { class: 'plain' }, el('thead', {}, el('tr', {}, ...head.map((word) => el('th', { scope: 'col' }, word)))), el('tbody', {}, ...body));
}

function ordered(pipelines) {
  const wanted = $('find').value.trim().toLowerCase();
  const found = wanted === '' ? pipelines
    : pipelines.filter((one) => [one.pipeline, one.state, one.target, w.known(w.LAG, one.lag.state).word].some((word) => word.toLowerCase().includes(wanted)));
  if ($('order').value === 'name') return found;
  // What does not run is as bad as what stands still; the names keep their order among equals.
  const rank = (one) => (one.readiness.ready ? w.known(w.LAG, one.lag.state).rank : -1);
  return [...found].sort((a, b) => rank(a) - rank(b));
}

function render() {
  const place = $('pipeline-rows');
  const list = ordered(last.pipelines);
  if (!table) {
    const head = ['state', 'pipeline', 'lag', 'lag, 15 min', 'made durable', 'durable, 15 min', 'dead letters'];
    const heads = el('div', { role: 'rowgroup' }, el('div', { class: 'row head', role: 'row' }, ...head.map((word) => el('div', { role: 'columnheader' }, word))));
    const body = el('div', { role: 'presentation' });
    const none = el('p', { class: 'note' });
    table = { body, none, whole: el('div', { class: 'table pipelines', role: 'table', 'aria-labelledby': 'pipelines-title' }, heads, body) };
    place.replaceChildren(table.whole, none);
  }
  shown(table.whole, list.length > 0);
  shown(table.none, list.length === 0);
  text(table.none, last.pipelines.length === 0 ? 'No pipeline has started.' : 'No pipeline is like that.');
  keyed(table.body, rows, list, (one) => one.pipeline, row);
}

export function showPipelines(status) {
  last = status;
  for (const one of status.pipelines) {
    const nowSeconds = status.now_ms / 1000;
    // A lag that is not known is a gap, also where there is a bound.
    history(one.pipeline).push(nowSeconds, one.lag.state === 'unknown' ? null : lagSeconds(one.lag), w.sum(one.totals.events));
  }
  render();
}

for (const id of ['find', 'order']) $(id).addEventListener('input', () => last && render());
