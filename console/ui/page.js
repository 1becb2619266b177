// The parts that every page has.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { isAway } from '../api.js';
import { t } from '../i18n.js';
import { visible } from './text.js';

/** The heading of a page. The app moves the focus to it after a navigation. */
export const head = (title, { sub = nothing, actions = nothing } = {}) => html`<div class="page-head">
  <div class="page-title"><h1 tabindex="-1">${title}</h1>${sub === nothing ? nothing : html`<div class="sub">${sub}</div>`}</div>
  ${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}</div>`;

/** Stands for what is not loaded yet. It shows after a moment, so that fast answers do not flicker. */
export const skeleton = (lines = 6) => html`<div class="skeleton"><span class="visually-hidden">${t('common.loading')}</span>${Array.from({ length: lines }, () => html`<i></i>`)}</div>`;

/** A part of a page with its own heading. */
export const panel = (title, body, { actions = nothing, kind = '' } = {}) => html`<section class="panel ${kind}">
  <div class="panel-head"><h2>${title}</h2>${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}</div>${body}</section>`;

/** A notice: `info`, `warn` or `error`. */
export const notice = (kind, body, actions = nothing) => html`<div class="notice ${kind}" role=${kind === 'error' ? 'alert' : nothing}>
  <span class="mark" aria-hidden="true">${{ info: 'i', warn: '▲', error: '✗' }[kind]}</span><div>${body}</div>${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}</div>`;

/** What to show for a list without entries: why it is empty, and what to do. */
export const emptyState = (title, body = nothing) => html`<div class="empty"><p class="strong">${title}</p>${body === nothing ? nothing : html`<p>${body}</p>`}</div>`;

/** A failed request, in words. */
export function failure(error, retry) {
  const known = { 403: 'error.forbidden', 404: 'error.missing', 429: 'error.busy', 503: 'error.busy' }[error.status];
  const key = error.status && isAway(error) ? 'error.unreachable' : known ?? (error.status >= 500 ? 'error.server' : undefined);
  const words = key && t(key);
  const said = error.status ? visible(error.message) : undefined;
  return notice('error', html`<p class="strong">${words ?? visible(error.message)}</p>
    ${words && said ? html`<p>${said}</p>` : nothing}
    ${error.requestId ? html`<p class="muted small">${t('error.request', { id: visible(error.requestId) })}</p>` : nothing}`,
  retry ? html`<button type="button" @click=${retry}>${t('common.retry')}</button>` : nothing);
}

/** Names and values. `pairs`: `[[label, value], …]`; pairs without a value are left out. */
export const facts = (pairs) => html`<dl class="facts">${pairs.filter(([, value]) => value !== undefined && value !== nothing && value !== '').map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;

const drawnBar = (share, tone) => html`<svg class="bar ${tone}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="bar-all" width="100" height="6"></rect><rect class="bar-part" width=${share > 0 ? Math.max(share * 100, 1) : 0} height="6"></rect></svg>`;

const shareOf = (part, whole) => (whole > 0 ? Math.min(1, part / whole) : 0);

/** A bar from 0 to the limit: it warns when little is left. The numbers stand beside it, so it says nothing by itself. */
export function bar(part, whole) {
  const share = shareOf(part, whole);
  return drawnBar(share, share > 0.9 ? 'down' : share > 0.75 ? 'warn' : '');
}

/** A bar of something that is to be complete. */
export const progress = (part, whole) => drawnBar(shareOf(part, whole), '');
