import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { ApiError, isAbort } from '../api.js';
import { number, t, tr } from '../i18n.js';
import { link } from '../router.js';
import { eventTable } from '../ui/event.js';
import { limitTable, sharedLimits } from '../ui/limits.js';
import { agreement, health, healthMark, nodeName } from '../ui/node.js';
import { failure, head, notice, panel, skeleton } from '../ui/page.js';
import { STATUSES, judged, serviceState, status, statusWord } from '../ui/status.js';
import { table } from '../ui/table.js';
import { mono, name, visible } from '../ui/text.js';
import { ago, when } from '../ui/time.js';
import { toast } from '../ui/toast.js';

const STATES = ['noneUp', 'someDown', 'allUp', 'empty'];

/** An account may be allowed to see some parts only; each part fails by itself. */
async function parts(requests) {
  const names = Object.keys(requests);
  const outcomes = await Promise.allSettled(Object.values(requests));
  const failed = outcomes.filter(({ status: outcome }) => outcome === 'rejected').map(({ reason }) => reason);
  const abort = failed.find(isAbort);
  if (abort) throw abort;
  if (failed.length === outcomes.length || failed.some((error) => error.status === 0)) throw failed.find((error) => error.status === 0) ?? failed[0];
  return Object.fromEntries(outcomes.map(({ value, reason }, index) => [names[index], reason ? { error: reason } : value ?? {}]));
}

const unseen = ({ error }) => (error.status === 403
  ? html`<p class="muted pad">${t('overview.hidden')}</p>`
  : failure(error));

const tile = (title, figure, rest = nothing) => html`<section class="tile"><h2>${title}</h2><div class="figure">${figure}</div>${rest}</section>`;

function servicesTile(services) {
  if (services.error) return tile(t('overview.services'), '–', unseen(services));
  const counts = services.counts ?? {};
  return tile(t('overview.services'), html`<a href="#/services">${number(services.total)}</a>`, html`<ul>${STATES.filter((state) => counts[state]).map((state) => html`<li><a class="plain" href=${link('services', { status: state })}>${serviceState(state)} ${number(counts[state])}</a></li>`)}</ul>`);
}

function instancesTile(services) {
  if (services.error) return tile(t('overview.instances'), '–', unseen(services));
  const counts = services.instanceCounts ?? {};
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const order = [...STATUSES, ...Object.keys(counts).filter((key) => !STATUSES.includes(key))];
  return tile(t('overview.instances'), html`<a href="#/instances">${number(total)}</a>`, html`<ul>${order.filter((key) => counts[key]).map((key) => html`<li><a class="plain" aria-label=${`${statusWord(key)}: ${number(counts[key])}`} href=${link('instances', { status: key })}>${status(key)} ${number(counts[key])}</a></li>`)}</ul>`);
}

function nodesTile(nodes) {
  if (nodes.error) return tile(t('overview.nodes'), '–', unseen(nodes));
  const items = nodes.items ?? [];
  const healthy = items.filter((node) => health(node)[0] === 'good').length;
  return tile(t('overview.nodes'), html`<a href="#/nodes">${t('overview.healthyNodes', { healthy, total: nodes.total ?? items.length })}</a>`, judged(...agreement(items)));
}

function watchTile({ expiries, alarms, nodes }) {
  // Nodes with alarms of their own are healthy otherwise.
  const states = (nodes.items ?? []).map((node) => health(node)[0]).filter((state) => state === 'bad' || state === 'unknown');
  const nodeLine = states.length ? html`<div>${judged(states.includes('bad') ? 'bad' : 'warn', t('overview.troubledNodes', { count: states.length }))}</div>` : nothing;
  const held = expiries.error ? undefined : expiries.total ?? 0;
  const list = alarms.error ? undefined : alarms.alarms ?? [];
  const active = list?.filter(({ status: state }) => state === 'ACTIVATED').length;
  const ended = list && list.length - active;
  const hidden = html`<span class="muted">${t('overview.hidden')}</span>`;
  const alarmLine = !list ? hidden
    : active ? judged('bad', t('overview.activeAlarms', { count: active }))
      : ended ? judged('unknown', t('overview.endedAlarms', { count: ended })) : judged('good', t('overview.noAlarms'));
  const heldLine = held === undefined ? hidden : held ? judged('warn', t('overview.heldCount', { count: held })) : judged('good', t('overview.noHeld'));
  return tile(t('overview.attention'), html`${active === undefined && held === undefined ? '–' : number((active ?? 0) + (held ?? 0) + states.length)}`, html`${nodeLine}<div>${alarmLine}</div>${alarmLine === heldLine ? nothing : html`<div>${heldLine}</div>`}`);
}

async function acknowledge(ctx, alarm) {
  try {
    await ctx.api.send('DELETE', 'admin/alarms', undefined, { id: alarm.id });
    toast(t('overview.acknowledged'));
  } catch (error) {
    toast(visible(error.message), { kind: 'error' });
  }
  ctx.reload();
}

function alarmPanel(ctx, alarms) {
  if (alarms.error || !alarms.alarms?.length) return nothing;
  const why = ctx.session.whyReadOnly('delete', 'ops');
  return panel(t('overview.alarmsOf'), html`${why ? html`<p class="muted pad">${t(why)}</p>` : nothing}${table({
    caption: t('overview.alarmsOf'),
    rows: alarms.alarms,
    keyOf: ({ id }) => id,
    columns: [
      { key: 'alarm', label: t('overview.alarm'), rowHeader: true, cell: ({ id }) => html`<span>${tr(`overview.alarm.${id}`, visible(id))}</span>` },
      { key: 'state', label: t('overview.state'), cell: ({ status: state }) => (state === 'ACTIVATED' ? judged('bad', t('overview.active')) : judged('unknown', t('overview.over'))) },
      { key: 'detail', label: t('overview.detail'), cell: ({ fields }) => name(fields?.detail ?? '') },
    ],
    actions: why ? undefined : (alarm) => html`<button type="button" @click=${() => acknowledge(ctx, alarm)} aria-label=${`${t('overview.acknowledge')}: ${tr(`overview.alarm.${alarm.id}`, visible(alarm.id))}`}>${t('overview.acknowledge')}</button>`,
  })}`);
}

function heldPanel(expiries) {
  if (expiries.error || !expiries.items?.length) return nothing;
  const { items, total } = expiries;
  return panel(t('overview.heldList'), html`${table({
    caption: t('overview.heldList'),
    rows: items,
    keyOf: ({ serviceId, instanceId }) => `${serviceId} ${instanceId}`,
    columns: [
      { key: 'service', label: t('event.service'), rowHeader: true, cell: (one) => html`<a href=${link('service', one.serviceId)}>${name(one.serviceName)} <span class="muted">${mono(one.version)}</span></a>` },
      { key: 'instance', label: t('event.instance'), cell: (one) => html`<a href=${link('instance', one.serviceId, one.instanceId)}>${mono(one.instanceId)}</a>` },
      { key: 'rule', label: t('overview.rule'), cell: ({ rule }) => html`<span>${tr(`rule.${rule}`, visible(rule))}</span>` },
      { key: 'since', label: t('overview.expired'), cell: ({ since }) => ago(since) },
      { key: 'until', label: t('overview.until'), cell: ({ until }) => when(until) },
    ],
  })}${total > items.length ? html`<p class="muted pad">${t('pager.some', { shown: items.length, total })}</p>` : nothing}`);
}

function nodePanel(nodes) {
  if (nodes.error || !nodes.items?.length) return nothing;
  return panel(t('overview.nodes'), table({
    caption: t('overview.nodes'),
    rows: nodes.items,
    keyOf: (node) => `${node.node} ${node.process ?? node.instanceId}`,
    columns: [
      { key: 'node', label: t('nodes.node'), rowHeader: true, cell: nodeName },
      { key: 'health', label: t('nodes.health'), cell: healthMark },
      { key: 'revision', label: t('nodes.revision'), numeric: true, cell: ({ revision }) => html`<span>${revision === undefined ? '' : number(revision)}</span>` },
      { key: 'held', label: t('nodes.held'), numeric: true, cell: ({ heldExpiries }) => html`<span>${heldExpiries === undefined ? '' : number(heldExpiries)}</span>` },
    ],
  }), { actions: html`<a href="#/nodes">${t('common.showAll')}</a>` });
}

/** The beginning of the record is no gap that anybody should look into. */
const latest = ({ items = [], next }) => (!next && items.at(-1)?.kind === 'record.gap' ? items.slice(0, -1) : items);

export const page = {
  name: 'overview',
  title: () => t('overview.title'),
  kinds: ['instance', 'service', 'schema', 'store', 'node', 'record'],
  every: 10_000,
  load({ api, session, signal }) {
    // What the account may not see is not asked for.
    const ops = (path, query) => (session.can('get', 'ops') ? api.get(path, query, signal) : Promise.reject(new ApiError({ status: 403 })));
    return parts({
      services: api.get('govern/services', { limit: 1 }, signal),
      nodes: ops('admin/nodes', { limit: 20 }),
      expiries: ops('admin/expiries', { limit: 10 }),
      alarms: ops('admin/alarms', {}),
      events: ops('admin/events', { order: 'desc', limit: 12 }),
    });
  },
  view(ctx) {
    const { data } = ctx;
    const heading = head(t('overview.title'));
    if (!data) return html`${heading}${skeleton(8)}`;
    const { services, nodes, expiries, alarms, events } = data;
    const quotas = sharedLimits(nodes.items ?? []);
    return html`${heading}
      ${nodes.items && agreement(nodes.items)[0] === 'bad' ? notice('error', html`<p class="strong">${t('overview.differ')}</p><p>${t('nodes.differText')}</p>`, html`<a href="#/nodes">${t('nav.nodes')}</a>`) : nothing}
      <div class="grid">${servicesTile(services)}${instancesTile(services)}${nodesTile(nodes)}${watchTile(data)}</div>
      ${alarmPanel(ctx, alarms)}${heldPanel(expiries)}
      ${services.total === 0 && !services.error ? notice('info', html`<p class="strong">${t('overview.noServices')}</p><p>${t('overview.noServicesText')}</p>`) : nothing}
      ${panel(t('overview.latest'), events.error ? unseen(events) : eventTable({ events: latest(events), caption: t('overview.latest'), hide: ['told'] }), { actions: events.error ? nothing : html`<a href="#/events">${t('common.showAll')}</a>` })}
      <div class="columns even">${nodePanel(nodes)}${quotas.length ? panel(t('overview.quotas'), limitTable(quotas, t('overview.quotas'))) : nothing}</div>`;
  },
};
