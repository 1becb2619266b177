import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { t } from '../i18n.js';
import { current } from '../router.js';

const PAUSE = 150;

/**
 * A search box. What is typed becomes a part of the query after a moment. `/` moves the focus to the first box of a page.
 * `search(ctx, {key: 'search', label, placeholder?})`
 */
export function search(ctx, { key = 'search', label = t('common.search'), placeholder = label, list }) {
  const typed = ctx.state.typed ??= {};
  const commit = (value) => {
    clearTimeout(typed[`${key} timer`]);
    // The page was left before the moment was over.
    const { page, params } = current();
    if (page !== ctx.route.page || params[0] !== ctx.route.params[0]) return;
    if ((ctx.route.query.get(key) ?? '') !== value.trim()) ctx.setQuery({ [key]: value.trim() || null });
    else ctx.redraw();
  };
  return html`<input type="search" class="search" data-search autocomplete="off" spellcheck="false" maxlength="200" aria-label=${label} placeholder=${placeholder} title=${t('keys.searchHint')} list=${list ?? nothing}
    .value=${live(typed[key] ?? ctx.route.query.get(key) ?? '')}
    @input=${(event) => {
    typed[key] = event.target.value;
    clearTimeout(typed[`${key} timer`]);
    typed[`${key} timer`] = setTimeout(() => commit(typed[key] ?? ''), PAUSE);
  }}
    @keydown=${(event) => {
    if (event.key === 'Enter' && !event.isComposing) commit(event.target.value);
    if (event.key === 'Escape' && !event.target.value) event.target.blur();
  }}
    @blur=${(event) => { commit(event.target.value); delete typed[key]; }}>`;
}
