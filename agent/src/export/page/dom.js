// Elements are made once and changed only where something changed; text is always text, never markup.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'class') element.className = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// As text(), where what is between backticks is a name to be typed or looked up.
export function prose(element, value) {
  if (element.said === value) return;
  element.said = value;
  element.replaceChildren(...value.split('`').map((part, index) => (index % 2 === 1 ? el('code', {}, part) : part)));
}

export function klass(element, value) {
  if (element.className !== value) element.className = value;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function shown(element, yes) {
  if (element.hidden === yes) element.hidden = !yes;
}

// A word with its mark and colour.
export function badge() {
  const mark = el('span', { class: 'mark', 'aria-hidden': 'true' });
  const word = el('span');
  const element = el('span', { class: 'badge' }, mark, word);
  return {
    element,
    show(look) {
      klass(element, `badge ${look.tone}`);
      text(mark, look.mark);
      text(word, look.word);
    },
  };
}

// Keeps the children of `parent` one for each of `items`, in their order: made once by key, updated each time, removed when gone.
export function keyed(parent, known, items, key, make) {
  const seen = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    if (seen.has(id)) continue;
    seen.add(id);
    let one = known.get(id);
    if (!one) {
      one = make(item);
      known.set(id, one);
    }
    one.update(item);
    if (one.element === place) place = place.nextElementSibling;
    else parent.insertBefore(one.element, place);
  }
  for (const [id, one] of known) {
    if (seen.has(id)) continue;
    one.element.remove();
    one.end?.();
    known.delete(id);
  }
}
