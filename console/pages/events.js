// The record of this node: what happened, the newest first, with its gaps.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { dateTime, t } from '../i18n.js';
import { choose, chips, field } from '../ui/filters.js';
import { eventTable, kindWord, KINDS } from '../ui/event.js';
import { emptyState, failure, head, skeleton } from '../ui/page.js';
import { pager } from '../ui/pager.js';
import { picker, servicesOf } from '../ui/picker.js';
import { visible } from '../ui/text.js';

const PAGE = 50;
/** Chips: kinds by what people ask for. */
export const GROUPS = {
  vanished: 'instance.unregistered,instance.expired,instance.released,instance.deletedWithService',
  appeared: 'instance.registered,instance.reregistered,instance.restored',
  changed: 'instance.changed',
  held: 'instance.held,instance.released,instance.restored',
  services: 'service,schema',
  system: 'store,node,record',
};
const SINCE = ['15m', '1h', '6h', '24h'];
const FILTERS = ['kind', 'serviceId', 'instanceId', 'host', 'since', 'before'];

const asked = (route, key) => route.query.get(key) || undefined;
const isPaused = (route) => route.query.get('follow') === 'no' || Boolean(asked(route, 'after')) || Boolean(asked(route, 'before'));

/** Gaps are no events of a service, so with a filter only `completeSince` tells of them. */
function query(route) {
  const all = Object.fromEntries(FILTERS.map((key) => [key, asked(route, key)]));
  if (all.kind) all.kind = [...new Set([...all.kind.split(','), 'record'])].join(',');
  return all;
}

/** The events in parts, with the gaps between them. */
export function parts(events, completeSeq, isEnd) {
  const found = [{ events: [] }];
  let isAfter = true;
  // The oldest entry may be the mark of the beginning.
  const all = isEnd && events.at(-1)?.kind === 'record.gap' ? events.slice(0, -1) : events;
  for (const event of all) {
    const isGap = event.kind === 'record.gap';
    if (isGap || (isAfter && event.seq < completeSeq)) found.push({ events: [], gap: isGap ? event : {} });
    isAfter = event.seq >= completeSeq && !isGap;
    if (!isGap) found.at(-1).events.push(event);
  }
  return found;
}

const gapLine = ({ time, detail }, completeSince) => html`<div class="gap" role="note"><span class="mark" aria-hidden="true">⋯</span> <strong>${t('events.gap')}</strong>
  ${t('events.gapText', { time: dateTime(time ?? completeSince) })}${detail ? html` <span class="muted">${visible(detail)}</span>` : nothing}</div>`;

/** Events with the gaps among them. `page`: an answer of `admin/events`, the newest first. */
export function record({ items = [], completeSince, completeSinceSeq = 0, next }, { caption, hide = [], empty, tall = false }) {
  const all = parts(items, completeSinceSeq, !next);
  return html`<div class="record">${all.map((part) => html`${part.gap ? gapLine(part.gap, completeSince) : nothing}
    ${part.events.length || all.length === 1 ? eventTable({ events: part.events, caption, hide: items.some((event) => event.told) ? hide : [...hide, 'told'], empty, tall: tall && all.length === 1 }) : nothing}`)}
    ${!next && completeSince ? html`<p class="muted small record-start">${t('events.start', { time: dateTime(completeSince) })}</p>` : nothing}</div>`;
}

/** How many events there are. On a page that shows all, the gaps are not counted: they are lines between the events. */
export const total = ({ route }, { items = [], total: all, next }) => (next || asked(route, 'after') ? all : items.filter(({ kind }) => kind !== 'record.gap').length);

// The filters

/** The value of `datetime-local` for a time, and back. */
function local(time) {
  const date = new Date(time ?? NaN);
  return Number.isNaN(date.getTime()) ? '' : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

const moment = (ctx, key) => html`<label class="field"><span>${t(`events.${key}`)}</span><input type="datetime-local" step="1" .value=${local(asked(ctx.route, key))}
  @change=${(event) => ctx.setQuery({ [key]: event.target.value ? new Date(event.target.value).toISOString() : null })}></label>`;

function serviceText(ctx) {
  const id = asked(ctx.route, 'serviceId');
  if (!id) return '';
  const { service } = (ctx.data?.items ?? []).find((event) => event.service?.serviceId === id) ?? {};
  return service ? `${visible(service.serviceName)} ${visible(service.version)}` : visible(id);
}

function filters(ctx) {
  const { route } = ctx;
  const isOpen = ctx.state.more ??= ['instanceId', 'before'].some((key) => asked(route, key)) || (asked(route, 'since') ?? '').includes(':')
    || (Boolean(asked(route, 'kind')) && !Object.values(GROUPS).includes(asked(route, 'kind')));
  return html`<div class="toolbar form" role="search">
    ${picker(ctx, {
    key: 'service',
    label: t('events.service'),
    placeholder: t('events.anyService'),
    text: serviceText(ctx),
    find: servicesOf(ctx.api, { byVersion: true }),
    choose: (option) => ctx.setQuery({ serviceId: option?.serviceId ?? null }, { replace: false }),
    typed: (text) => ctx.setQuery({ serviceId: text }, { replace: false }),
  })}
    <div class="stacked-field">${field(ctx, { key: 'host', label: t('events.host'), placeholder: t('events.hostHint') })}</div>
    <div class="stacked-field">${choose(ctx, { key: 'since', label: t('events.time'), all: t('events.ever'), options: SINCE.map((value) => ({ value, label: t(`events.last.${value}`) })) })}</div>
    <button type="button" aria-expanded=${isOpen ? 'true' : 'false'} aria-controls="more-filters" @click=${() => { ctx.state.more = !isOpen; ctx.redraw(); }}>${t('instances.more')}</button></div>
  <div class="toolbar" id="more-filters" ?hidden=${!isOpen}>
    ${choose(ctx, { key: 'kind', label: t('events.kind'), options: [...Object.entries(GROUPS).filter(([, value]) => value.includes(',')).map(([key, value]) => ({ value, label: t(`events.group.${key}`) })), ...KINDS.filter((kind) => kind !== 'record.gap').map((value) => ({ value, label: kindWord(value) }))] })}
    ${field(ctx, { key: 'instanceId', label: t('events.instanceId') })}${moment(ctx, 'since')}${moment(ctx, 'before')}</div>
  <div class="toolbar">${chips(ctx, { key: 'kind', label: t('events.kind'), options: Object.entries(GROUPS).map(([key, value]) => ({ value, label: t(`events.group.${key}`) })) })}</div>`;
}

function follow(ctx) {
  const { route } = ctx;
  if (asked(route, 'before')) return nothing;
  const isOn = !isPaused(route);
  return html`<button type="button" aria-pressed=${isOn ? 'true' : 'false'} title=${t('events.followHint')} @click=${() => ctx.setQuery({ follow: isOn ? 'no' : null })}><span aria-hidden="true">${isOn ? '● ' : '○ '}</span>${t('events.follow')}</button>`;
}

export const page = {
  name: 'events',
  title: () => t('nav.events'),
  kinds: (route) => (isPaused(route) ? [] : asked(route, 'kind')?.split(',') ?? ['instance', 'service', 'schema', 'store', 'node', 'record']),
  async load(ctx) {
    if (!ctx.session.can('get', 'ops')) return { isHidden: true };
    try {
      return await ctx.api.get('admin/events', { ...query(ctx.route), order: 'desc', limit: PAGE, after: asked(ctx.route, 'after') }, ctx.signal);
    } catch (problem) {
      // What a filter says may be wrong. The filters stay, so that it can be corrected.
      if (problem.status === 400) return { problem };
      throw problem;
    }
  },
  view(ctx) {
    const { data, live } = ctx;
    const heading = head(t('nav.events'), { sub: live.node ? t('events.sub', { node: visible(live.node) }) : nothing, actions: follow(ctx) });
    if (data?.isHidden) return html`${head(t('nav.events'))}${emptyState(t('error.forbidden'))}`;
    if (!data) return html`${heading}${filters(ctx)}${skeleton()}`;
    if (data.problem) return html`${heading}${filters(ctx)}${failure(data.problem)}`;
    const isFiltered = FILTERS.some((key) => asked(ctx.route, key));
    const empty = emptyState(t(isFiltered ? 'events.noneFound' : 'events.none'), isFiltered ? html`<a href="#/events">${t('common.showAll')}</a>` : nothing);
    return html`${heading}${filters(ctx)}
      ${record(data, { caption: t('nav.events'), empty, tall: true })}
      ${pager(ctx, { total: total(ctx, data), shown: (data.items ?? []).length, next: data.next })}`;
  },
};
