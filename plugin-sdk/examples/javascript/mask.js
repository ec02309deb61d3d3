// Masks e-mail addresses: keeps the first character and the domain, `a***@example.org`.
//
// Both row images are treated alike, so that an old value does not slip through `before`. What is no address becomes
// `***`; nulls stay null.

// An instance is configured once, before its first batch.
let paths = [];

function mask(text) {
  const at = text.lastIndexOf('@');
  if (at <= 0 || at === text.length - 1) return '***';
  // By code point: a character beyond 16 bits is two units of a JavaScript string.
  return `${String.fromCodePoint(text.codePointAt(0))}***${text.slice(at)}`;
}

export const lifecycle = {
  configure(config) {
    const { column = 'email', ...unknown } = config ? JSON.parse(config) : {};
    if (Object.keys(unknown).length > 0 || typeof column !== 'string' || column === '') {
      throw { code: 'config', message: '`column` is the one option: the name of a column', retryable: false };
    }
    paths = [`before.${column}`, `after.${column}`];
  },
};

export const transform = {
  apply(batch) {
    for (const path of paths) {
      const texts = batch.textList(path);
      if (texts.some((text) => text != null)) {
        batch.setTextList(path, texts.map((text) => (text == null ? text : mask(text))));
      }
    }
  },
};
