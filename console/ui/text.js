// Text of the registry is hostile: it may hold markup, control characters and characters that turn the direction of what follows.
// Markup is harmless in text nodes. The rest is shown by its number.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { copyButton } from './copy.js';

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
const LONGEST = 2000;

const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

function cut(text) {
  const whole = String(text ?? '');
  return whole.length > LONGEST ? `${whole.slice(0, LONGEST)}…` : whole;
}

/** A string for titles, labels and the title of the document. */
export const visible = (text) => cut(text).replace(HIDDEN, (char) => `⟨${code(char)}⟩`);

/** The parts of a text: what is shown as it is, and the hidden characters by their numbers. */
export function escaped(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > at) parts.push(text.slice(at, match.index));
    parts.push(html`<span class="esc">${code(match[0])}</span>`);
    at = match.index + match[0].length;
  }
  if (at === 0) return text;
  parts.push(text.slice(at));
  return parts;
}

/** A text of several lines, for `<pre>`: line breaks and tabs stay. */
export function block(text) {
  if (text.replace(/[\n\t]+/g, '').search(HIDDEN) < 0) return text;
  return text.split(/([\n\t]+)/).map((part, index) => (index % 2 ? part : escaped(part)));
}

/** A name of the registry. */
export const name = (text) => html`<bdi class="name">${escaped(cut(text))}</bdi>`;

/** An id, an address or a version. */
export const mono = (text, { copy = false } = {}) => html`<bdi class="mono">${escaped(cut(text))}</bdi>${copy ? copyButton(String(text)) : nothing}`;

/** An id of which the beginning is enough; the whole is in the title and in the copy. */
export const shortId = (text, length = 8) => html`<bdi class="mono" title=${visible(text)}>${visible(String(text ?? '').slice(0, length))}</bdi>`;
