import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { number, t } from '../i18n.js';
import { visible } from './text.js';

/** The row above a list. */
export const toolbar = (...parts) => html`<div class="toolbar" role="search">${parts}</div>`;

/** A choice from a list, kept in the query. `options`: `[{value, label}]` or texts; the first entry is "all" unless `all` is null. */
export function choose(ctx, { key, label, options, all = t('common.all') }) {
  const chosen = ctx.route.query.get(key) ?? '';
  const known = options.map((one) => (typeof one === 'object' ? one : { value: one, label: visible(one) }));
  if (chosen && !known.some(({ value }) => value === chosen)) known.push({ value: chosen, label: visible(chosen) });
  return html`<label class="field"><span>${label}</span><select .value=${live(chosen)} @change=${(event) => ctx.setQuery({ [key]: event.target.value || null })}>
    ${all === null ? nothing : html`<option value="" ?selected=${!chosen}>${all}</option>`}
    ${known.map(({ value, label: text }) => html`<option value=${value} ?selected=${value === chosen}>${text}</option>`)}</select></label>`;
}

/** A choice with few values, all in sight, each with its number. `options`: `[{value, label, count?}]`. */
export function chips(ctx, { key, label, options, all = t('common.all') }) {
  const chosen = ctx.route.query.get(key) ?? '';
  const entries = all === null ? options : [{ value: '', label: all }, ...options];
  return html`<div class="chips" role="group" aria-label=${label}>${entries.map(({ value, label: text, count }) => html`<button type="button" aria-pressed=${value === chosen ? 'true' : 'false'}
    @click=${() => ctx.setQuery({ [key]: value || null })}>${text}${count === undefined ? nothing : html` <span class="count">${number(count)}</span>`}</button>`)}</div>`;
}

/** A text that is used when the field is left or Enter is pressed, kept in the query. */
export function field(ctx, { key, label, placeholder = '', list }) {
  return html`<label class="field"><span>${label}</span><input type="text" autocomplete="off" spellcheck="false" maxlength="300" placeholder=${placeholder} list=${list ?? nothing}
    .value=${ctx.route.query.get(key) ?? ''} @change=${(event) => ctx.setQuery({ [key]: event.target.value.trim() || null })}></label>`;
}
