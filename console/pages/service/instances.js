// The instances of a version: their status and since when, what is wrong with them, and which have gone and why.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { isAbort, segment } from '../../api.js';
import { duration, t, tr } from '../../i18n.js';
import { link } from '../../router.js';
import { dialog } from '../../ui/dialog.js';
import { eventTable } from '../../ui/event.js';
import { chips, toolbar } from '../../ui/filters.js';
import { json } from '../../ui/json.js';
import { emptyState, notice, panel } from '../../ui/page.js';
import { pager } from '../../ui/pager.js';
import { search } from '../../ui/search.js';
import { STATUSES, counts as byStatus, status, statusWord } from '../../ui/status.js';
import { table } from '../../ui/table.js';
import { mono, name, shortId, visible } from '../../ui/text.js';
import { ago, when } from '../../ui/time.js';
import { drain, receipts } from './drain.js';
import { GONE } from './gone.js';
import { setStatus } from './set_status.js';

const PAGE = 50;
const MOST_EXPIRIES = 200;
const MOST_CHANGES = 200;
const LAST_GONE = 10;
const MOST_ENDPOINTS = 4;
const MOST_ELSEWHERE = 5;
/** The time of a registration is in whole seconds: an instance that was last written so soon after it has not changed since. */
const REGISTRATION = 1_500;

export const kinds = ['instance', 'service'];

export async function load(ctx, id) {
  const { api, session, route: { query }, signal } = ctx;
  const [text, state, sort, order, after] = ['search', 'status', 'sort', 'order', 'after'].map((key) => query.get(key));
  const maybe = (request) => (session.can('get', 'ops') ? request().catch((error) => { if (isAbort(error)) throw error; }) : undefined);
  const events = (kind, limit) => maybe(() => api.get('admin/events', { serviceId: id, kind, order: 'desc', limit }, signal));
  const [list, gone, expiries, changes] = await Promise.all([
    api.get('govern/instances', { serviceId: id, withShared: 1, search: text, status: state, sort: sort ?? 'status', order: order ?? 'desc', after, limit: PAGE }, signal),
    events(GONE, LAST_GONE),
    maybe(() => api.get('admin/expiries', { serviceId: id, limit: MOST_EXPIRIES }, signal)),
    events('instance.changed', MOST_CHANGES),
  ]);
  return {
    list,
    gone,
    held: new Map((expiries?.items ?? []).map((one) => [one.instanceId, one])),
    since: lastChanges(changes?.items ?? []),
  };
}

/** When the status of an instance last changed, from events that begin with the newest. */
function lastChanges(events) {
  const since = new Map();
  for (const { instance, before, time } of events) {
    if (instance && before && before.status !== instance.status && !since.has(instance.instanceId)) since.set(instance.instanceId, { time, status: instance.status });
  }
  return since;
}

/** Since when the instance has its status. Without an event that tells, the last write of any kind is the latest that it can be. */
function sinceOf({ since }, { instanceId, status: value, lastChange, registered }) {
  const known = since.get(instanceId);
  if (known?.status === value) return html`<span title=${t('service.sinceExact')}>${when(known.time)} <span class="muted">(${ago(known.time)})</span></span>`;
  const latest = lastChange ?? registered;
  if (!latest) return nothing;
  const isFirst = lastChange && Math.abs(Date.parse(lastChange) - Date.parse(registered)) < REGISTRATION;
  return isFirst
    ? html`<span>${when(latest)} <span class="muted">(${ago(latest)})</span></span>`
    : html`<span title=${t('service.sinceAtLeast')}>${when(latest)} <span class="muted">${t('service.orBefore')}</span></span>`;
}

function statusCell(data, row) {
  const held = data.held.get(row.instanceId);
  return html`<span>${status(row.status)}${held ? html`<div class="status warn"><span class="mark" aria-hidden="true">‖</span><span title=${tr(`rule.${held.rule}`, visible(held.rule))}>${t('service.heldExpiry')} ${when(held.until)}</span></div>` : nothing}</span>`;
}

function endpoints({ endpoints: all = [] }) {
  const rest = all.length - MOST_ENDPOINTS;
  return html`<span class="lines">${all.slice(0, MOST_ENDPOINTS).map((one) => html`<span>${mono(one)}</span>`)}${rest > 0 ? html`<span class="muted">${t('service.more', { count: rest })}</span>` : nothing}</span>`;
}

const columns = (data) => [
  { key: 'host', label: t('service.host'), sort: true, rowHeader: true, cell: ({ serviceId, instanceId, hostName }) => html`<a href=${link('instance', serviceId, instanceId)} title=${t('service.history')}>${name(hostName ?? '')} <span class="muted">${shortId(instanceId)}</span></a>` },
  { key: 'status', label: t('service.status'), sort: true, firstOrder: 'desc', cell: (row) => statusCell(data, row) },
  { key: 'changed', label: t('service.since'), sort: true, firstOrder: 'desc', cell: (row) => sinceOf(data, row) },
  { key: 'endpoints', label: t('service.endpoints'), cell: endpoints },
  { key: 'heartbeat', label: t('service.heartbeat'), cell: ({ lastHeartbeatAgeSeconds: seconds, ttlSeconds }) => html`<span class="lines">${seconds === undefined ? html`<span class="muted" title=${t('service.noHeartbeatHint')}>–</span>` : html`<span>${t('service.before', { age: duration(seconds) })}</span>`}<span class="muted nowrap">${t('service.ttl')} ${duration(ttlSeconds ?? 0)}</span></span>` },
];

/** The other versions that have instances which are not up. Whoever looks for what is down may be on the wrong version. */
function elsewhere({ id, versions }) {
  const some = versions.filter(({ serviceId, instances = {} }) => serviceId !== id && Object.entries(instances).some(([key, count]) => key !== 'UP' && count > 0)).reverse();
  return some.length ? html`<p class="elsewhere"><span class="muted">${t('service.elsewhere')}</span> ${some.slice(0, MOST_ELSEWHERE).map((one) => html`<a href=${link('service', one.serviceId)}>${mono(one.version)}</a>
      ${byStatus(Object.fromEntries(Object.entries(one.instances).filter(([key]) => key !== 'UP')))} `)}${some.length > MOST_ELSEWHERE ? html`<a href=${link('service', id, 'versions')}>${t('service.more', { count: some.length - MOST_ELSEWHERE })}</a>` : nothing}</p>` : nothing;
}

export function view(ctx, data, service) {
  const { list: { items = [], total, next, counts = {} }, gone } = data;
  const { query } = ctx.route;
  const why = ctx.session.whyReadOnly('update', 'service', service.labels);
  const sort = { by: query.get('sort') ?? 'status', order: query.get('order') ?? 'desc' };
  const onSort = (by, order) => ctx.setQuery({ sort: by, order });
  const shownStatuses = [...STATUSES, ...Object.keys(counts).filter((key) => !STATUSES.includes(key) && key !== 'OTHER')].filter((key) => counts[key] || key === query.get('status'));
  const isFiltered = query.get('search') || query.get('status');
  const hasAny = Object.values(service.instances).some((count) => count > 0);
  const empty = isFiltered && hasAny ? t('service.noSuchInstances') : emptyState(t('services.noInstances'), gone?.items?.length ? t('service.noInstancesSeeGone') : t('service.noInstancesText'));
  return html`${receipts(ctx)}${elsewhere(service)}
    ${hasAny || isFiltered ? toolbar(
    search(ctx, { label: t('service.searchInstances') }),
    chips(ctx, { key: 'status', label: t('service.status'), options: shownStatuses.map((value) => ({ value, label: statusWord(value), count: counts[value] ?? 0 })) }),
    gone?.total ? html`<button type="button" class="quiet" @click=${() => document.querySelector('.gone')?.scrollIntoView({ block: 'start' })}>${t('service.goneCount', { count: gone.total })} ↓</button>` : nothing,
  ) : nothing}
    ${table({
    caption: t('service.tab.instances'),
    columns: columns(data),
    rows: items,
    keyOf: ({ instanceId }) => instanceId,
    sort,
    onSort,
    empty,
    actions: (row) => html`<span class="row-buttons"><button type="button" class="quiet" aria-label=${`${t('service.details')}: ${visible(row.hostName)}`} @click=${() => details(ctx, row)}>${t('service.details')}</button>${why ? nothing : html`<button type="button" aria-description=${visible(row.hostName)} @click=${() => setStatus(ctx, row)}>${t('service.setStatus')}</button><button type="button" aria-description=${visible(row.hostName)} ?disabled=${row.status === 'OUTOFSERVICE'} @click=${() => drain(ctx, row)}>${t('service.drain')}</button>`}</span>`,
  })}
    ${pager(ctx, { total, shown: items.length, next })}
    ${why && items.length ? html`<p class="muted">${t(why)}</p>` : nothing}
    ${gone ? html`<div class="below gone">${panel(t('service.goneLately'), eventTable({ events: gone.items ?? [], caption: t('service.goneLately'), hide: ['service'], empty: t('service.noneGone') }), { actions: gone.total > LAST_GONE ? html`<a href=${link('service', service.id, 'events', { kind: 'gone' })}>${t('common.showAll')}</a>` : nothing })}</div>` : nothing}`;
}

/** The whole document of an instance. */
function details(ctx, { serviceId, instanceId, hostName }) {
  let shown = html`<p class="muted">${t('common.loading')}</p>`;
  let again;
  ctx.api.get(`registry/microservices/${segment(serviceId)}/instances/${segment(instanceId)}`).then(
    ({ instance }) => { shown = json(instance, { label: t('service.details') }); again(); },
    (error) => { shown = notice('error', visible(error.message)); again(); },
  );
  dialog({
    title: html`${t('service.details')}: ${name(hostName)}`,
    wide: true,
    view: ({ redraw, close }) => {
      again = redraw;
      return html`<div class="dialog-body">${shown}</div><div class="dialog-actions"><button type="button" @click=${() => close()}>${t('common.close')}</button></div>`;
    },
  });
}
