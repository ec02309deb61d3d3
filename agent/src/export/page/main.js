// The status page: takes each state of the stream to the sections that show it.
import { $, el, text, klass, shown, keyed } from './dom.js';
import { listen } from './stream.js';
import { showIncidents } from './incidents.js';
import { showPipelines } from './pipelines.js';
import { showMigrations } from './migrations.js';
import { showPlugins } from './plugins.js';
import * as w from './words.js';

const tiles = new Map();
const connectors = new Map();

function tile() {
  const figure = el('b');
  const word = el('span');
  const element = el('div', { class: 'tile' }, figure, word);
  return {
    element,
    update(one) {
      klass(element, `tile ${one.tone}`);
      text(figure, one.figure);
      text(word, one.word);
    },
  };
}

function summary(state, firing) {
  const pipelines = state.status.pipelines;
  const list = Object.entries(w.LAG).map(([name, look]) => {
    const n = pipelines.filter((one) => one.lag.state === name).length;
    return { key: name, figure: `${n > 0 ? look.mark : ''} ${n}`.trim(), word: look.word, tone: n > 0 ? look.tone : 'rest' };
  }).reverse();
  const stuck = pipelines.filter((one) => !one.readiness.ready).length;
  list.push({ key: 'stuck', figure: `${stuck > 0 ? '! ' : ''}${stuck}`, word: 'not ready', tone: stuck > 0 ? 'bad' : 'rest' });
  // A sum of which a part is not known is not known.
  const stored = pipelines.map((one) => one.dead_letters_stored);
  const known = stored.every(w.isNumber);
  const dead = known ? stored.reduce((a, b) => a + b, 0) : stored.filter(w.isNumber).reduce((a, b) => a + b, 0);
  list.push({ key: 'dead', figure: known ? w.count(dead) : `≥ ${w.count(dead)}`, word: 'dead letters', tone: dead > 0 ? 'warn' : 'rest' });
  list.push({ key: 'firing', figure: state.incidents ? `${firing.length > 0 ? '! ' : ''}${w.count(firing.length)}` : '?', word: state.incidents ? 'incidents' : 'incidents unknown', tone: firing.some((one) => one.severity === 'critical') ? 'bad' : firing.length > 0 ? 'warn' : 'rest' });
  keyed($('summary'), tiles, list, (one) => one.key, tile);
}

function connector() {
  const word = el('strong');
  const said = el('p', { class: 'quiet' });
  const element = el('article', { class: 'card' }, word, said);
  return {
    element,
    update(one) {
      klass(element, `card ${one.bad ? 'bad' : 'rest'}`);
      text(word, one.title);
      text(said, one.said);
    },
  };
}

function showConnectors(status, nowMs) {
  shown($('connectors-section'), Boolean(status));
  if (!status) return;
  const ready = status.readiness;
  const items = ready.ready ? [{ title: '✓ ready', said: `last looked ${w.since(status.looked_at_ms, nowMs)}`, bad: false }]
    : ready.reasons.map((reason) => ({ title: '✕ not ready', said: reason, bad: true }));
  keyed($('connectors'), connectors, items, (one) => one.said + one.title, connector);
}

function onState(state) {
  const { status } = state;
  text($('name'), status.name);
  document.title = `${status.name} · Whimbrel`;
  text($('about'), `whimbrel ${status.version}, started ${w.since(status.started_at_ms, status.now_ms)}`);
  const firing = showIncidents(state.incidents, status.now_ms);
  summary(state, firing);
  showPipelines(status);
  showMigrations(state.migrations, status.now_ms);
  showPlugins(status.plugins, status.now_ms);
  showConnectors(status.connectors, status.now_ms);
}

const LINKS = {
  live: { tone: 'good', mark: '●', say: () => 'live' },
  connecting: { tone: 'rest', mark: '…', say: () => 'connecting' },
  stale: { tone: 'bad', mark: '✕', say: (link) => `stale since ${w.clock(link.lastMs)}${link.full ? ': as many listen as the agent serves' : ''}` },
  unreachable: { tone: 'bad', mark: '✕', say: () => 'the agent does not answer' },
  full: { tone: 'bad', mark: '✕', say: () => 'as many listen as the agent serves; trying again' },
  paused: { tone: 'rest', mark: '‖', say: (link) => `paused while hidden, at ${link.lastMs === null ? 'the start' : w.clock(link.lastMs)}` },
};

// The age stands in the title: said in the page, it would be read out each second.
function onLink(link) {
  const look = LINKS[link.word];
  klass($('link'), `badge ${look.tone}`);
  text($('link').firstElementChild, look.mark);
  text($('link-word'), look.say(link));
  $('link').title = link.lastMs === null ? 'no state was heard yet' : `last heard ${w.since(link.lastMs, Date.now())}`;
  document.body.classList.toggle('stale', link.word !== 'live');
}

// `performance.measure` shows in the browser's own tools, and to the test, what showing one state costs.
const MEASURED = 600;
let updates = 0;

listen((state) => {
  const start = performance.now();
  onState(state);
  performance.measure('state', { start, end: performance.now() });
  updates += 1;
  if (updates % MEASURED === 0) performance.clearMeasures('state');
}, onLink);
