import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { t } from '../i18n.js';
import { emptyState } from './page.js';

/**
 * A table. On narrow screens each row becomes a card; the roles are written out because `display` takes them away.
 *
 * `columns`: `[{key, label, cell(row), sort?, numeric?, rowHeader?, hidden?, firstOrder?: 'desc'}]`. `sort`: `{by, order}` with
 * `onSort(by, order)`. `select`: `{has(key), toggle(key), all(keys, on), label(row)}`. `empty`: a text, or a template for no rows.
 * `actions(row)`: the last column. `current`: the key of the row that is shown elsewhere. `tone(row)`: a class of the row, `warn` or
 * `down`. `tall`: the table fills the window and scrolls inside.
 */
export function table({ columns, rows, keyOf, caption, sort, onSort, select, actions, empty, current, tone, tall = false }) {
  const shown = columns.filter((column) => !column.hidden);
  if (!rows.length && empty !== undefined) return typeof empty === 'string' ? emptyState(empty) : empty;
  return html`<div class="table-wrap ${tall ? 'tall' : ''}" role="region" aria-label=${caption} tabindex="0"><table role="table">
    <caption class="visually-hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">
      ${select ? html`<th role="columnheader" scope="col" class="select">${all(select, rows, keyOf)}</th>` : nothing}
      ${shown.map((column) => heading(column, sort, onSort))}
      ${actions ? html`<th role="columnheader" scope="col" class="row-actions"><span class="visually-hidden">${t('table.actions')}</span></th>` : nothing}
    </tr></thead>
    <tbody role="rowgroup">${repeat(rows, keyOf, (row) => {
    const key = keyOf(row);
    return html`<tr role="row" class=${select?.has(key) || current === key ? 'chosen' : tone?.(row) || nothing}>
      ${select ? html`<td role="cell" class="select"><input type="checkbox" aria-label=${select.label(row)} .checked=${live(select.has(key))} @change=${() => select.toggle(key)}></td>` : nothing}
      ${shown.map((column) => cell(column, row))}
      ${actions ? html`<td role="cell" class="row-actions">${actions(row)}</td>` : nothing}</tr>`;
  })}</tbody></table></div>`;
}

function cell(column, row) {
  const kind = column.numeric ? 'numeric' : nothing;
  return column.rowHeader
    ? html`<th role="rowheader" scope="row" data-label=${column.label}><div>${column.cell(row)}</div></th>`
    : html`<td role="cell" class=${kind} data-label=${column.label}><div>${column.cell(row)}</div></td>`;
}

function heading(column, sort, onSort) {
  const kind = column.numeric ? 'numeric' : nothing;
  if (!column.sort || !onSort) return html`<th role="columnheader" scope="col" class=${kind}>${column.label}</th>`;
  const by = column.sort === true ? column.key : column.sort;
  const isSorted = sort?.by === by;
  const isDown = isSorted && sort.order === 'desc';
  const next = isSorted ? (isDown ? 'asc' : 'desc') : column.firstOrder ?? 'asc';
  return html`<th role="columnheader" scope="col" class=${kind} aria-sort=${isSorted ? (isDown ? 'descending' : 'ascending') : nothing}>
    <button type="button" class="sort" @click=${() => onSort(by, next)}>${column.label}<span class="mark" aria-hidden="true">${isSorted ? (isDown ? '▾' : '▴') : ''}</span></button></th>`;
}

function all(select, rows, keyOf) {
  const keys = rows.map(keyOf);
  const chosen = keys.filter((key) => select.has(key)).length;
  return html`<input type="checkbox" aria-label=${t('table.selectAll')} .checked=${live(chosen > 0 && chosen === keys.length)} .indeterminate=${chosen > 0 && chosen < keys.length}
    @change=${(event) => select.all(keys, event.target.checked)}>`;
}
