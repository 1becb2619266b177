import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { t } from '../i18n.js';

/**
 * Pages by the cursors of the server. The cursor is `after` in the query of the route, so that each page is a link; the cursors of
 * the pages before are in `ctx.state`.
 *
 * `pager(ctx, {total, shown, next})`: the number of all entries, of those on this page, and `next` of the answer.
 */
export function pager(ctx, { total, shown, next }) {
  const after = ctx.route.query.get('after') ?? '';
  const path = [...(ctx.state.cursors ?? [])];
  const at = path.findIndex((step) => step.after === after);
  const before = at < 0 ? path : path.slice(0, at);
  const isKnown = !after || before.length > 0;
  const first = isKnown ? (before.at(-1)?.end ?? 0) + 1 : undefined;
  const walk = (to, cursors) => {
    ctx.state.cursors = cursors;
    ctx.setQuery({ after: to || null }, { replace: false });
    document.querySelector('main h1')?.focus({ preventScroll: true });
    scrollTo(0, 0);
    for (const wrap of document.querySelectorAll('main .table-wrap')) wrap.scrollTop = 0;
  };
  const isAll = !after && !next;
  const text = !total ? '' : isAll ? t('pager.all', { count: total }) : isKnown ? t('pager.range', { first, last: first + shown - 1, total }) : t('pager.some', { shown, total });
  return html`<nav class="pager" aria-label=${t('pager.label')}><span class="muted">${text}</span>
    ${after ? html`<button type="button" @click=${() => walk(before.at(-1)?.after, before.slice(0, -1))}>← ${isKnown ? t('pager.previous') : t('pager.first')}</button>` : nothing}
    ${next ? html`<button type="button" @click=${() => walk(next, isKnown ? [...before, { after, end: first + shown - 1 }] : [])}>${t('pager.next')} →</button>` : nothing}</nav>`;
}
