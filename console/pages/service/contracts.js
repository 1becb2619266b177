// The contracts of a version: OpenAPI in words, the text, and the difference to another version.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { ApiError, isAbort, segment } from '../../api.js';
import { bytes, number, t } from '../../i18n.js';
import { copyButton } from '../../ui/copy.js';
import { choose, chips, toolbar } from '../../ui/filters.js';
import { emptyState, failure, notice, panel } from '../../ui/page.js';
import { block, escaped, mono, name, visible } from '../../ui/text.js';
import { diff } from './diff.js';
import { fingerprint, operations, read, schemas } from './document.js';
import { openApi } from './openapi.js';

const NO_SCHEMA = '400016';
const LONGEST_SHOWN = 200_000;
const CONTEXT = 3;
const MOST_ROWS = 2_000;
const MOST_CHANGES = 100;

export const kinds = ['schema', 'service'];

export async function load(ctx, id) {
  const { api, route: { query }, signal } = ctx;
  const path = `registry/microservices/${segment(id)}/schemas`;
  const { schemas: all = [] } = await api.get(path, {}, signal);
  const chosen = all.find(({ schemaId }) => schemaId === query.get('schema')) ?? all.find(({ summary }) => summary) ?? all[0];
  if (!chosen) return { all };
  const other = query.get('show') === 'compare' ? query.get('with') : undefined;
  const [own, others] = await Promise.all([
    contract(ctx, id, chosen.schemaId),
    other ? contract(ctx, other, chosen.schemaId) : undefined,
  ]);
  return { all, chosen, own, other, others };
}

/** A text that was read is kept as long as it stays the same, because to parse takes longer than to draw. */
async function contract({ api, signal, state }, id, schemaId) {
  const kept = state.contracts ??= new Map();
  const key = `${id} ${schemaId}`;
  let text;
  try {
    const answer = await api.get(`registry/microservices/${segment(id)}/schemas/${segment(schemaId)}`, {}, signal);
    text = String(answer?.schema ?? '');
  } catch (error) {
    if (isAbort(error) || (error instanceof ApiError && (error.status === 0 || error.status === 401))) throw error;
    return { failed: error, isMissing: error.code === NO_SCHEMA };
  }
  if (kept.get(key)?.text === text) return kept.get(key);
  const found = { text, ...await read(text) };
  if (kept.size > 4) kept.clear();
  kept.set(key, found);
  return found;
}

export function view(ctx, { all, chosen, own, other, others }, service) {
  if (!chosen) return emptyState(t('contract.none'), t('contract.noneText'));
  const { query } = ctx.route;
  const versions = [...service.versions].reverse().filter(({ serviceId }) => serviceId !== service.id);
  const show = query.get('show') ?? 'rendered';
  const isCompare = show === 'compare';
  const at = service.versions.findIndex(({ serviceId }) => serviceId === service.id);
  const nearest = (service.versions[at - 1] ?? service.versions[at + 1])?.serviceId;
  return html`${toolbar(
    all.length > 1 ? choose(ctx, { key: 'schema', label: t('contract.contract'), all: null, options: all.map(({ schemaId }) => ({ value: schemaId, label: visible(schemaId) })) }) : html`<span>${t('contract.contract')} ${name(chosen.schemaId)}</span>`,
    chips({ route: { query: new URLSearchParams({ show }) }, setQuery: (to) => ctx.setQuery(to.show === 'compare' && !query.get('with') ? { ...to, with: nearest } : to) }, {
      key: 'show',
      label: t('contract.view'),
      all: null,
      options: [{ value: 'rendered', label: t('contract.rendered') }, { value: 'text', label: t('contract.text') }, { value: 'compare', label: t('contract.compare') }],
    }),
    isCompare && versions.length ? choose(ctx, { key: 'with', label: t('contract.with'), all: t('contract.choose'), options: versions.map(({ serviceId, version }) => ({ value: serviceId, label: visible(version) })) }) : nothing,
    own.failed ? nothing : html`<span class="muted">${bytes(new Blob([own.text]).size)}</span>`,
    chosen.summary ? html`<span class="muted nowrap" title=${visible(chosen.summary)}>${t('contract.summary')} ${mono(chosen.summary.slice(0, 12))}</span>` : nothing,
  )}
    ${own.failed ? unread(own, service.document.version, ctx)
    : isCompare ? compare(ctx, service, own, other, others, versions)
      : show === 'text' || own.kind !== 'openapi' ? html`${show === 'text' ? nothing : why(own)}${shownText(own.pretty, own.text)}`
        : openApi(ctx, own.document)}`;
}

const unread = (one, version, ctx) => (one.isMissing
  ? emptyState(t('contract.noText'), t('contract.noTextText', { version: visible(version) }))
  : failure(one.failed, () => ctx.reload()));

const why = ({ why: key, reason }) => (key ? notice('info', html`<p>${t(key)}</p>${reason ? html`<p class="muted">${name(reason)}</p>` : nothing}`) : html`<p class="muted lead">${t('contract.noOpenApi')}</p>`);

function shownText(pretty, whole) {
  const isCut = pretty.length > LONGEST_SHOWN;
  return html`<div class="code"><div class="code-tools">${isCut ? html`<span class="muted">${t('json.cut')}</span>` : nothing}${copyButton(whole)}</div><pre tabindex="0" role="region" aria-label=${t('contract.text')}>${block(isCut ? pretty.slice(0, LONGEST_SHOWN) : pretty)}</pre></div>`;
}

// The difference of two versions

function compare(ctx, service, own, other, others, versions) {
  if (!versions.length) return emptyState(t('contract.oneVersion'), t('contract.oneVersionText'));
  if (!other || !others) return emptyState(t('contract.chooseVersion'));
  const name2 = versions.find(({ serviceId }) => serviceId === other)?.version ?? other;
  if (others.failed) return unread(others, name2, ctx);
  // The older version is on the left.
  const isOlder = service.versions.findIndex(({ serviceId }) => serviceId === other) < service.versions.findIndex(({ serviceId }) => serviceId === service.id);
  const mine = [service.document.version, own];
  const [[fromVersion, from], [toVersion, to]] = isOlder ? [[name2, others], mine] : [mine, [name2, others]];
  const result = compared(ctx, from, to);
  const title = t('contract.fromTo', { from: visible(fromVersion), to: visible(toVersion) });
  if (from.text === to.text) return notice('info', html`<p>${title}: ${t('contract.same')}</p>`);
  return html`${result.changes ? panel(title, changeList(result.changes)) : nothing}
    ${panel(t('contract.lines', { added: result.added, removed: result.removed }), html`${result.isCoarse ? html`<p class="pad muted">${t('contract.coarse')}</p>` : nothing}${result.rows.length ? lines(result.rows, title) : html`<p class="pad muted">${t('contract.sameLines')}</p>`}${result.more ? html`<p class="pad muted">${t('contract.moreLines', { count: result.more })}</p>` : nothing}`)}`;
}

/** The comparison of two texts is kept, because the page is drawn more often than it changes. */
function compared({ state }, from, to) {
  const before = state.compared;
  if (before?.from === from && before.to === to) return before.result;
  const { rows, isCoarse } = diff(from.pretty, to.pretty);
  const changed = hunks(rows);
  const result = {
    isCoarse,
    added: rows.filter(({ kind }) => kind === '+').length,
    removed: rows.filter(({ kind }) => kind === '-').length,
    rows: changed.slice(0, MOST_ROWS),
    more: Math.max(0, changed.length - MOST_ROWS),
    changes: from.kind === 'openapi' && to.kind === 'openapi' ? changes(from.document, to.document) : undefined,
  };
  state.compared = { from, to, result };
  return result;
}

/** Changed lines with some lines around; a row `…` stands for equal lines in between. */
function hunks(rows) {
  const near = new Uint8Array(rows.length);
  rows.forEach(({ kind }, at) => { if (kind !== ' ') near.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1); });
  const shown = [];
  let skipped = 0;
  rows.forEach((row, at) => {
    if (!near[at]) { skipped += 1; return; }
    if (skipped) shown.push({ kind: '…', count: skipped });
    skipped = 0;
    shown.push(row);
  });
  if (skipped && shown.length) shown.push({ kind: '…', count: skipped });
  return shown;
}

function changes(from, to) {
  const budget = { left: 60_000 };
  const keyed = (pairs) => new Map(pairs.map(([key, value]) => [key, value]));
  const operationsOf = (document) => keyed(operations(document).map(({ method, path, operation, shared }) => [`${method.toUpperCase()} ${path}`, [operation, shared]]));
  const found = [];
  const look = (what, before, after) => {
    for (const [key, value] of before) {
      if (!after.has(key)) found.push({ kind: 'removed', what, key });
      else if (budget.left > 0 && fingerprint(value, budget) !== fingerprint(after.get(key), budget)) found.push({ kind: 'changed', what, key });
    }
    for (const key of after.keys()) if (!before.has(key)) found.push({ kind: 'added', what, key });
  };
  look('operation', operationsOf(from), operationsOf(to));
  look('schema', keyed(schemas(from)), keyed(schemas(to)));
  return { found, isCut: budget.left <= 0 };
}

const MARKS = { removed: ['−', 'down'], changed: ['✎', 'info'], added: ['+', 'up'] };

const changeList = ({ found, isCut }) => html`${found.length ? html`<ul class="changes">${found.slice(0, MOST_CHANGES).map(({ kind, what, key }) => html`<li><span class="status ${MARKS[kind][1]}"><span class="mark" aria-hidden="true">${MARKS[kind][0]}</span><span>${t(`contract.${what}.${kind}`)}</span></span> ${mono(key)}</li>`)}</ul>` : html`<p class="pad muted">${t('contract.sameOperations')}</p>`}
  ${found.length > MOST_CHANGES ? html`<p class="pad muted">${t('contract.more', { count: found.length - MOST_CHANGES })}</p>` : nothing}${isCut ? html`<p class="pad muted">${t('contract.notAllCompared')}</p>` : nothing}`;

const WORDS = { '+': 'contract.added', '-': 'contract.removed' };
const KINDS = { '+': 'added', '-': 'removed', ' ': 'same' };

const lines = (rows, caption) => html`<div class="diff" tabindex="0" role="region" aria-label=${caption}><div class="diff-lines">${rows.map(({ kind, text, a, b, count }) => (kind === '…'
  ? html`<div class="diff-line skipped"><span class="diff-number"></span><span class="diff-number"></span><span class="diff-text">… ${t('contract.equalLines', { count })}</span></div>`
  : html`<div class="diff-line ${KINDS[kind]}"><span class="diff-number">${a === undefined ? '' : number(a)}</span><span class="diff-number">${b === undefined ? '' : number(b)}</span><span class="diff-text"><span aria-hidden="true">${kind === '-' ? '−' : kind} </span>${WORDS[kind] ? html`<span class="visually-hidden">${t(WORDS[kind])}: </span>` : nothing}${escaped(text.slice(0, 1000).replaceAll('\t', '  '))}</span></div>`))}</div></div>`;
