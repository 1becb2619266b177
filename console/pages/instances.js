// Searches the instances of all services, and sets the status of those that are selected.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { segment } from '../api.js';
import { duration, now, number, t } from '../i18n.js';
import { link } from '../router.js';
import { dialog } from '../ui/dialog.js';
import { chips, field, toolbar } from '../ui/filters.js';
import { emptyState, failure, head, skeleton } from '../ui/page.js';
import { pager } from '../ui/pager.js';
import { search } from '../ui/search.js';
import { judged, status, STATUSES, statusWord } from '../ui/status.js';
import { table } from '../ui/table.js';
import { GROUPS } from './events.js';
import { NO_ENVIRONMENT } from './services.js';
import { mono, name, shortId, visible } from '../ui/text.js';
import { ago } from '../ui/time.js';

const PAGE = 50;
const MOST_SELECTED = 200;
const TOGETHER = 4;
const MOST_ENDPOINTS = 3;
/** What the search asks for, besides the text and the status. */
const MORE = ['host', 'endpoint', 'port', 'property', 'appId', 'env', 'serviceName', 'serviceId'];
const ALWAYS = MORE.slice(0, 4);

const keyOf = (row) => `${row.serviceId} ${row.instanceId}`;
const selected = (ctx) => ctx.state.selected ??= new Map();
const asked = (ctx, key) => ctx.route.query.get(key) || undefined;

// The change of the status

const labelsOf = ({ environment, appId, serviceName }) => ({ environment, appId, serviceName });

/** Sets the status of one instance and reads it back. */
async function set(ctx, row, value) {
  const path = `registry/microservices/${segment(row.serviceId)}/instances/${segment(row.instanceId)}`;
  const outcome = {};
  try {
    await ctx.api.send('PUT', `${path}/status`, undefined, { value });
  } catch (error) {
    outcome.error = error;
  }
  // Also after an error: the answer may be lost, but the change made.
  try {
    const answer = await ctx.api.get(path, { noCache: 1 });
    outcome.status = answer?.instance?.status;
  } catch (error) {
    outcome.error ??= error;
  }
  outcome.isDone = outcome.status === value;
  return outcome;
}

async function change(ctx) {
  const rows = [...selected(ctx).values()];
  let value = '';
  let outcomes;
  let next = 0;
  const work = async (redraw) => {
    outcomes = new Map();
    redraw();
    const worker = async () => {
      while (next < rows.length) {
        const row = rows[next];
        next += 1;
        outcomes.set(keyOf(row), await set(ctx, row, value));
        redraw();
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, worker));
    for (const row of rows) if (outcomes.get(keyOf(row))?.isDone) selected(ctx).delete(keyOf(row));
    redraw();
    ctx.reload();
  };
  const summary = () => {
    const all = [...outcomes.values()];
    const done = all.filter((one) => one.isDone).length;
    return all.length < rows.length ? t('instances.working', { done: all.length, total: rows.length }) : t('instances.done', { done, total: rows.length });
  };
  const outcome = (row) => {
    const one = outcomes?.get(keyOf(row));
    if (!one) return outcomes ? html`<span class="muted">${t('instances.waiting')}</span>` : nothing;
    if (one.isDone) return judged('good', t('instances.isNow', { status: statusWord(one.status) }));
    return html`${judged('bad', one.status ? t('instances.isStill', { status: statusWord(one.status) }) : t('instances.notRead'))}${one.error ? html`<div class="small">${visible(one.error.message)}</div>` : nothing}`;
  };
  await dialog({
    title: t('instances.setTitle'),
    wide: true,
    view: ({ close, redraw }) => html`<form method="dialog" @submit=${(event) => { event.preventDefault(); if (value && !outcomes) work(redraw); }}>
      <div class="dialog-body">
        ${outcomes ? html`<p role="status" class="strong">${summary()}</p>` : html`<fieldset class="options"><legend>${t('instances.newStatus', { count: rows.length })}</legend>
          ${STATUSES.map((one) => html`<label><input type="radio" name="status" value=${one} .checked=${value === one} @change=${() => { value = one; redraw(); }}> ${status(one)}</label>`)}</fieldset>
          <p class="muted small">${t('instances.setHint')}</p>`}
        ${table({
    caption: t('instances.setTitle'),
    rows,
    keyOf,
    columns: [
      { key: 'instance', label: t('instances.instance'), rowHeader: true, cell: (row) => html`${name(row.hostName)} <span class="muted">${shortId(row.instanceId)}</span>` },
      { key: 'service', label: t('instances.service'), cell: (row) => html`${name(row.serviceName)} ${mono(row.version)}` },
      { key: 'before', label: t('instances.before'), cell: (row) => status(row.status) },
      { key: 'outcome', label: t('instances.outcome'), hidden: !outcomes, cell: outcome },
    ],
  })}</div>
      <div class="dialog-actions"><button type="button" @click=${() => close()}>${t(outcomes ? 'common.close' : 'common.cancel')}</button>
      ${outcomes ? nothing : html`<button type="submit" class="primary" ?disabled=${!value}>${value ? t('instances.setTo', { status: statusWord(value) }) : t('instances.set')}</button>`}</div></form>`,
  });
  // A closed dialog changes nothing more. What is not changed stays selected.
  next = rows.length;
  // The button that opened the dialog is gone with the selection.
  if (document.activeElement === document.body) document.querySelector('main h1')?.focus({ preventScroll: true });
}

// The list

/** Seconds since the last heartbeat, counted on from the answer. */
export function heartbeat(ctx, { lastHeartbeatAgeSeconds: age, ttlSeconds }) {
  if (age === undefined) return html`<span class="muted" title=${t('instances.noHeartbeatHint')}><span aria-hidden="true">—</span><span class="visually-hidden">${t('instances.noHeartbeat')}</span></span>`;
  const seconds = Math.max(0, Math.round(age + (now() - (ctx.state.loadedAt ?? now())) / 1000));
  const text = t('instances.beatAge', { age: duration(seconds) });
  return ttlSeconds && seconds > ttlSeconds / 2 ? judged('warn', text) : html`<span class="nowrap">${text}</span>`;
}

/** An address without its parameters, which are in the title. */
const address = (one) => html`<div title=${visible(one)}>${mono(one.split('?', 1)[0])}</div>`;

function endpoints({ endpoints: all = [] }) {
  const more = all.length - MOST_ENDPOINTS;
  return html`${all.slice(0, MOST_ENDPOINTS).map(address)}${more > 0 ? html`<span class="muted" title=${visible(all.slice(MOST_ENDPOINTS).join('\n'))}>${t('instances.moreEndpoints', { count: more })}</span>` : nothing}`;
}

const columns = (ctx) => [
  { key: 'host', label: t('instances.instance'), sort: true, rowHeader: true, cell: (row) => html`<a href=${link('instance', row.serviceId, row.instanceId)} title=${visible(row.instanceId)}>${row.hostName ? name(row.hostName) : t('instances.noHost')}</a>
    <div class="muted small">${shortId(row.instanceId, 12)}</div>` },
  { key: 'service', label: t('instances.service'), sort: true, cell: (row) => html`<div class="wide-cell"><a href=${link('service', row.serviceId)}>${name(row.serviceName)}</a> ${mono(row.version)}</div><div class="muted small">${name([row.appId, row.environment].filter(Boolean).join(' · '))}</div>` },
  { key: 'status', label: t('instances.status'), sort: true, cell: (row) => status(row.status) },
  { key: 'changed', label: t('instances.since'), sort: true, firstOrder: 'desc', cell: ({ lastChange, registered }) => (lastChange ? ago(lastChange) : registered ? ago(registered) : nothing) },
  { key: 'endpoints', label: t('instances.addresses'), cell: endpoints },
  { key: 'ttl', label: t('instances.ttl'), cell: ({ ttlSeconds }) => html`<span class="nowrap">${duration(ttlSeconds ?? 0)}</span>` },
  { key: 'heartbeat', label: t('instances.heartbeat'), cell: (row) => heartbeat(ctx, row) },
];

/** Selects at most so many, so that a change stays one that a person can look through. */
function pick(ctx, row) {
  const all = selected(ctx);
  if (!all.delete(keyOf(row)) && all.size < MOST_SELECTED) all.set(keyOf(row), row);
}

function selection(ctx, rows) {
  const all = selected(ctx);
  const byKey = new Map(rows.map((row) => [keyOf(row), row]));
  return {
    has: (key) => all.has(key),
    toggle: (key) => { pick(ctx, byKey.get(key)); ctx.redraw(); },
    all: (keys, on) => {
      for (const key of keys) if (all.has(key) !== on) pick(ctx, byKey.get(key));
      ctx.redraw();
    },
    label: (row) => t('instances.select', { host: visible(row.hostName), id: visible(row.instanceId) }),
  };
}

function chosen(ctx) {
  const { size } = selected(ctx);
  if (!size) return nothing;
  return html`<div class="chosen-bar" role="region" aria-label=${t('instances.selection')}><span role="status">${t('instances.selected', { count: size })}</span>
    <button type="button" class="primary" @click=${() => change(ctx)}>${t('instances.set')}</button>
    <button type="button" class="quiet" @click=${() => { selected(ctx).clear(); ctx.redraw(); }}>${t('instances.clear')}</button></div>`;
}

function filters(ctx) {
  const { query } = ctx.route;
  const counted = ctx.data?.counts ?? {};
  const total = Object.values(counted).reduce((sum, count) => sum + count, 0);
  const others = MORE.slice(ALWAYS.length).filter((key) => query.get(key));
  const isOpen = ctx.state.more ??= ALWAYS.some((key) => query.get(key));
  return html`${toolbar(
    search(ctx, { key: 'search', label: t('instances.search'), placeholder: t('instances.searchHint') }),
    chips(ctx, { key: 'status', label: t('instances.status'), all: ctx.data ? html`${t('common.all')} <span class="count">${number(total)}</span>` : t('common.all'), options: STATUSES.map((value) => ({ value, label: status(value), count: ctx.data ? counted[value] ?? 0 : undefined })) }),
    html`<button type="button" aria-expanded=${isOpen ? 'true' : 'false'} aria-controls="more-filters" @click=${() => { ctx.state.more = !isOpen; ctx.redraw(); }}>${t('instances.more')}</button>`,
  )}
  <div class="toolbar" id="more-filters" ?hidden=${!isOpen}>${ALWAYS.map((key) => field(ctx, { key, label: t(`instances.filter.${key}`), placeholder: t(`instances.hint.${key}`) }))}</div>
  ${others.length ? html`<div class="toolbar">${others.map((key) => html`<button type="button" class="tag" title=${t('instances.removeFilter')} @click=${() => ctx.setQuery({ [key]: null })}>${t(`instances.filter.${key}`)}: ${key === 'env' && query.get(key) === NO_ENVIRONMENT ? t('services.noEnvironment') : name(query.get(key))} <span aria-hidden="true">×</span></button>`)}</div>` : nothing}`;
}

export const page = {
  name: 'instances',
  title: () => t('nav.instances'),
  kinds: ['instance', 'service'],
  every: 15_000,
  async load(ctx) {
    const query = Object.fromEntries(['search', 'status', ...MORE].map((key) => [key, asked(ctx, key)]));
    // Requests leave out empty parameters, but the empty environment is one of its own.
    const isEmpty = query.env === NO_ENVIRONMENT;
    if (isEmpty) delete query.env;
    // Who names a service by its id wants it, also if all share it.
    if (query.serviceId) query.withShared = 1;
    let data;
    try {
      data = await ctx.api.get(isEmpty ? 'govern/instances?env=' : 'govern/instances', { ...query, sort: asked(ctx, 'sort'), order: asked(ctx, 'order'), after: asked(ctx, 'after'), limit: PAGE }, ctx.signal);
    } catch (problem) {
      // What a filter says may be wrong. The filters stay, so that it can be corrected.
      if (problem.status === 400) return { problem };
      throw problem;
    }
    ctx.state.loadedAt = now();
    // What is selected is shown with its newest status.
    for (const row of data.items ?? []) if (selected(ctx).has(keyOf(row))) selected(ctx).set(keyOf(row), row);
    return data;
  },
  view(ctx) {
    const { data, route, session } = ctx;
    const why = session.whyReadOnly('update', 'service');
    const heading = head(t('nav.instances'), { sub: why ? t(why) : nothing });
    if (!data) return html`${heading}${filters(ctx)}${skeleton()}`;
    if (data.problem) return html`${heading}${filters(ctx)}${failure(data.problem)}`;
    const rows = data.items ?? [];
    const isFiltered = ['search', 'status', ...MORE].some((key) => route.query.get(key));
    const none = emptyState(t(isFiltered ? 'instances.noneFound' : 'instances.none'), isFiltered ? html`<a href="#/instances">${t('common.showAll')}</a>${session.can('get', 'ops') ? html` · <a href=${link('events', { kind: GROUPS.vanished })}>${t('instances.vanished')}</a>` : nothing}` : nothing);
    const mayChange = rows.some((row) => session.can('update', 'service', labelsOf(row)));
    return html`${heading}${filters(ctx)}${chosen(ctx)}
      ${table({
    caption: t('nav.instances'),
    rows,
    keyOf,
    tall: true,
    columns: columns(ctx),
    sort: { by: route.query.get('sort') ?? 'service', order: route.query.get('order') ?? 'asc' },
    onSort: (by, order) => ctx.setQuery({ sort: by === 'service' ? null : by, order: order === 'asc' ? null : order }),
    select: why || !mayChange ? undefined : selection(ctx, rows),
    empty: none,
  })}
      ${pager(ctx, { total: data.total, shown: rows.length, next: data.next })}`;
  },
};

