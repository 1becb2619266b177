// A status is always a mark and a word, never only a color.

import { html } from '../vendor/lit-html/lit-html.js';
import { number, t, tr } from '../i18n.js';
import { visible } from './text.js';

const MARKS = { UP: '●', DOWN: '▼', STARTING: '◐', TESTING: '◇', OUTOFSERVICE: '⊘' };
const STATES = { allUp: ['●', 'up'], someDown: ['◑', 'warn'], noneUp: ['▼', 'down'], empty: ['○', 'none'] };
const TONES = { UP: 'up', DOWN: 'down', STARTING: 'info', TESTING: 'info', OUTOFSERVICE: 'none' };

/** The order in which statuses are shown. */
export const STATUSES = Object.keys(MARKS);

/** Mark and tone of the status of an instance, for drawings. */
export const statusMark = (value) => ({ mark: MARKS[value] ?? '?', tone: TONES[value] ?? 'none' });

const marked = (mark, tone, word) => html`<span class="status ${tone}"><span class="mark" aria-hidden="true">${mark}</span><span>${word}</span></span>`;

/** The word of a status. */
export const statusWord = (value) => (MARKS[value] ? t(`status.${value}`) : visible(value) || t('status.unknown'));

/** The status of an instance. */
export const status = (value) => marked(MARKS[value] ?? '?', TONES[value] ?? 'none', statusWord(value));

/** The state of a service: `allUp`, `someDown`, `noneUp` or `empty`. */
export function serviceState(value) {
  const [mark, tone] = STATES[value] ?? ['?', 'none'];
  return marked(mark, tone, tr(`state.${value}`, visible(value)));
}

/** `● 3  ▼ 1`: numbers of instances by status; the words are for screen readers and in the title. `href(status)`: where each leads. */
export function counts(instances, { empty = '0', href } = {}) {
  const order = (key) => (STATUSES.indexOf(key) + 1) || 99;
  const entries = Object.entries(instances ?? {}).filter(([, count]) => count > 0).sort(([a], [b]) => order(a) - order(b));
  if (!entries.length) return html`<span class="muted">${empty}</span>`;
  const one = ([key, count]) => html`<span class="status ${TONES[key] ?? 'none'}" title=${statusWord(key)}><span class="mark" aria-hidden="true">${MARKS[key] ?? '?'}</span><span class="visually-hidden">${statusWord(key)} </span>${number(count)}</span>`;
  return html`<span class="counts">${entries.map((entry) => (href ? html`<a class="plain" href=${href(entry[0])}>${one(entry)}</a> ` : html`${one(entry)} `))}</span>`;
}

const JUDGEMENTS = { good: ['✓', 'up'], bad: ['✗', 'down'], warn: ['▲', 'warn'], unknown: ['?', 'none'] };

/** Any judgement with its word: `good`, `bad`, `warn` or `unknown`. */
export function judged(kind, word) {
  const [mark, tone] = JUDGEMENTS[kind] ?? JUDGEMENTS.unknown;
  return marked(mark, `${tone} long`, word);
}
