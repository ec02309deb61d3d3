// Charts, drawn by uPlot: small ones within rows and large ones with axes. Colours come from the style sheet.
/* global uPlot */
import { el, attribute } from './dom.js';

const SPAN = 900;
const LEAST = 120;     // seconds that are shown at least

const dark = matchMedia('(prefers-color-scheme: dark)');
const all = new Set();
let visible = null;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function observe(chart) {
  visible ??= new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const one = entry.target.chart;
      one.visible = entry.isIntersecting;
      if (one.visible) {
        one.onSeen?.();
        one.draw();
      }
    }
  }, { rootMargin: '80px' });
  chart.element.chart = chart;
  visible.observe(chart.element);
}

dark.addEventListener('change', () => all.forEach((chart) => chart.rebuild()));

export class Chart {
  // `read` gives the times and the values; `look` has the names of the colours, and what the values are.
  constructor(kind, look, read) {
    this.kind = kind;
    this.look = look;
    this.read = read;
    this.visible = false;
    this.element = el('div', { class: kind, role: 'img', 'aria-label': look.title });
    this.plot = null;
    this.describedMs = 0;
    all.add(this);
    observe(this);
    if (kind === 'chart') {
      this.resized = new ResizeObserver(() => this.plot && this.plot.setSize(this.#size()));
      this.resized.observe(this.element);
    }
  }

  #size() {
    return this.kind === 'spark' ? { width: 130, height: 32 } : { width: Math.max(160, this.element.clientWidth), height: 150 };
  }

  #options() {
    const large = this.kind === 'chart';
    const axis = { show: large, stroke: colour('--quiet'), font: '11px system-ui, sans-serif', grid: { stroke: colour('--grid'), width: 1 }, ticks: { show: false } };
    return {
      ...this.#size(),
      padding: large ? [8, 8, 0, 0] : [3, 1, 1, 1],
      cursor: large ? { y: false, drag: { x: false, y: false } } : { show: false },
      legend: { show: false },
      select: { show: false },
      scales: {
        x: { time: true, range: (_, least, most) => (least === null ? [0, 1] : [Math.min(most - LEAST, Math.max(least, most - SPAN)), most]) },
        y: { range: (_, least, most) => [0, most > 0 ? most * 1.08 : 1] },
      },
      axes: [
        { ...axis, size: 26, space: 70, values: [[60, '{HH}:{mm}', null, null, null, null, null, null, 1], [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1]] },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => this.look.say(tick)) },
      ],
      series: [{}, { stroke: colour(this.look.stroke), fill: colour(this.look.fill), width: 1.5, spanGaps: false, points: { show: false } }],
    };
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    if (this.visible) this.draw();
  }

  draw() {
    if (!this.visible) return;
    const [times, values] = this.read();
    if (times.length === 0) return;
    if (this.plot) this.plot.setData([times, values]);
    else this.plot = new uPlot(this.#options(), [times, values], this.element);
    // Words for those who do not see it, now and then.
    if (Date.now() - this.describedMs > 10000) {
      this.describedMs = Date.now();
      const numbers = values.filter((value) => value !== null);
      const most = numbers.reduce((a, b) => Math.max(a, b), 0);
      const said = numbers.length === 0 ? 'nothing known' : `now ${this.look.say(values.at(-1))}, at most ${this.look.say(most)}`;
      attribute(this.element, 'aria-label', `${this.look.title}, up to 15 minutes: ${said}`);
    }
  }

  end() {
    all.delete(this);
    visible.unobserve(this.element);
    this.resized?.disconnect();
    this.plot?.destroy();
  }
}
