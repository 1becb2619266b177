import { html } from '../vendor/lit-html/lit-html.js';
import { t } from '../i18n.js';
import { copyButton } from './copy.js';
import { block, escaped } from './text.js';

const LONGEST = 200_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const MOST_TOKENS = 8000;

/** JSON with colors, and a button that copies it. */
export function json(value, { label = 'JSON' } = {}) {
  const text = JSON.stringify(value, null, 2) ?? '';
  const isCut = text.length > LONGEST;
  return html`<div class="code"><div class="code-tools">${isCut ? html`<span class="muted">${t('json.cut')}</span>` : ''}${copyButton(text)}</div><pre tabindex="0" role="region" aria-label=${label}>${colored(isCut ? text.slice(0, LONGEST) : text)}</pre></div>`;
}

function colored(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (parts.length > MOST_TOKENS) break;
    if (match.index > at) parts.push(text.slice(at, match.index));
    const [all, string, colon, word] = match;
    const kind = colon ? 'key' : string ? 'string' : word ? 'word' : 'number';
    parts.push(html`<span class="json-${kind}">${escaped(string ?? all)}</span>${colon ?? ''}`);
    at = match.index + all.length;
  }
  parts.push(block(text.slice(at)));
  return parts;
}
