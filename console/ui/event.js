// The events of the record, as every page shows them.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { duration, t, tr } from '../i18n.js';
import { link } from '../router.js';
import { status } from './status.js';
import { table } from './table.js';
import { mono, name, shortId, visible } from './text.js';
import { when } from './time.js';

const MARKS = {
  'instance.registered': ['+', 'up'], 'instance.reregistered': ['↻', 'up'], 'instance.changed': ['✎', 'info'],
  'instance.unregistered': ['−', 'none'], 'instance.expired': ['✗', 'down'], 'instance.held': ['‖', 'warn'],
  'instance.released': ['✗', 'down'], 'instance.restored': ['↩', 'up'], 'instance.deletedWithService': ['✗', 'down'],
  'service.registered': ['+', 'up'], 'service.changed': ['✎', 'info'], 'service.deleted': ['−', 'none'], 'service.retired': ['−', 'none'],
  'schema.changed': ['✎', 'info'], 'schema.deleted': ['−', 'none'],
  'store.relisted': ['↻', 'info'], 'store.lost': ['✗', 'down'], 'store.back': ['✓', 'up'],
  'node.joined': ['+', 'up'], 'node.left': ['−', 'none'], 'record.gap': ['⋯', 'warn'],
};

/** All kinds, for filters. */
export const KINDS = Object.keys(MARKS);

export const kindWord = (kind) => tr(`kind.${kind}`, visible(kind));

export function eventKind(kind) {
  const [mark, tone] = MARKS[kind] ?? ['·', 'none'];
  return html`<span class="status ${tone} nowrap"><span class="mark" aria-hidden="true">${mark}</span><span>${kindWord(kind)}</span></span>`;
}

/** The service of an event, as a link. */
export function eventService({ service }) {
  if (!service) return nothing;
  return html`<span><a href=${link('service', service.serviceId)}>${name(service.serviceName)}</a> <span class="muted">${mono(service.version)}</span></span>`;
}

/** The instance of an event, as a link to its history. */
export function eventInstance({ service, instance }) {
  if (!instance) return nothing;
  const shown = html`${name(instance.hostName ?? '')} <span class="muted">${shortId(instance.instanceId)}</span>`;
  return service ? html`<a href=${link('instance', service.serviceId, instance.instanceId)} title=${visible(instance.instanceId)}>${shown}</a>` : shown;
}

/** Service and instance. */
export const eventAbout = (event) => html`<div>${eventService(event)}</div>${event.instance ? html`<div>${eventInstance(event)}</div>` : nothing}`;

const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** What the event changed of the instance, or its detail. */
export function eventChange({ before, instance, detail }) {
  const parts = [];
  if (before && instance) {
    if (!same(before.status, instance.status)) parts.push(html`<div>${status(before.status)} → ${status(instance.status)}</div>`);
    if (!same(before.hostName, instance.hostName)) parts.push(html`<div>${name(before.hostName)} → ${name(instance.hostName)}</div>`);
    if (!same(before.endpoints, instance.endpoints)) parts.push(html`<div>${(before.endpoints ?? []).map((one) => mono(one))} → ${(instance.endpoints ?? []).map((one) => mono(one))}</div>`);
    if (!parts.length) parts.push(html`<span class="muted">${t('event.otherMembers')}</span>`);
  } else if (instance?.status && instance.status !== 'UP') parts.push(status(instance.status));
  if (detail) parts.push(html`<div class="detail">${name(detail)}</div>`);
  return parts.length ? html`<div>${parts}</div>` : nothing;
}

/** Why it happened, in a sentence. */
export function eventCause({ cause }) {
  if (!cause?.type) return nothing;
  if (cause.type === 'request') {
    const [account, client] = [cause.account && visible(cause.account), cause.client && visible(cause.client)];
    if (account) return html`<span>${t(client ? 'cause.accountFrom' : 'cause.account', { account, client })}</span>`;
    return html`<span>${t(client ? 'cause.requestFrom' : 'cause.request', { client })}</span>`;
  }
  if (cause.type === 'lease') {
    return cause.lastHeartbeat ? t('cause.leaseAge', { age: duration(cause.heartbeatAgeSeconds ?? 0) }) : t('cause.lease');
  }
  if (cause.type === 'rule') return html`${t('cause.rule', { rule: tr(`rule.${cause.rule}`, visible(cause.rule)) })}${cause.until ? html` ${t('cause.until')} ${when(cause.until)}` : nothing}`;
  return tr(`cause.${cause.type}`, visible(cause.type));
}

/** What became of the event on its way to those that watch. */
export function eventTold({ told }) {
  if (!told?.consumers) return nothing;
  const parts = [t('told.sent', { sent: told.sent ?? 0, consumers: told.consumers })];
  for (const key of ['waiting', 'replaced', 'lost']) if (told[key]) parts.push(t(`told.${key}`, { count: told[key] }));
  return parts.join(', ');
}

/** A table of events. `hide`: keys of columns that go without saying: `service`, `told`. `compact`: fewer, for narrow places. */
export const eventTable = ({ events, caption, hide = [], compact = false, empty = t('event.none'), tall }) => table({
  caption,
  rows: events,
  keyOf: (event) => event.id,
  empty,
  tall,
  columns: compact ? [
    { key: 'time', label: t('event.time'), cell: (event) => when(event.time) },
    { key: 'kind', label: t('event.kind'), rowHeader: true, cell: (event) => eventKind(event.kind) },
    { key: 'about', label: t('event.about'), cell: eventAbout },
    { key: 'details', label: t('event.details'), cell: (event) => html`${eventChange(event)}<span class="muted">${eventCause(event)}</span>` },
  ] : [
    { key: 'time', label: t('event.time'), cell: (event) => when(event.time) },
    { key: 'kind', label: t('event.kind'), rowHeader: true, cell: (event) => eventKind(event.kind) },
    { key: 'service', label: t('event.service'), cell: eventService },
    { key: 'instance', label: t('event.instance'), cell: eventInstance },
    { key: 'change', label: t('event.change'), cell: eventChange },
    { key: 'cause', label: t('event.cause'), cell: eventCause },
    { key: 'told', label: t('event.told'), cell: eventTold },
  ].map((column) => ({ ...column, hidden: hide.includes(column.key) })),
});
