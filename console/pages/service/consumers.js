// Who calls a service, and whom it calls: by the dependency rules, with what runs of them.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { isAbort, segment } from '../../api.js';
import { number, t } from '../../i18n.js';
import { link } from '../../router.js';
import { emptyState, panel } from '../../ui/page.js';
import { pager } from '../../ui/pager.js';
import { counts } from '../../ui/status.js';
import { table } from '../../ui/table.js';
import { mono, name, visible } from '../../ui/text.js';
import { ago } from '../../ui/time.js';

const PAGE = 100;
const MOST_WATCHERS = 200;

export const kinds = ['instance', 'service'];

export async function load({ api, route: { query }, signal }, id) {
  const path = `govern/services/${segment(id)}`;
  const [partners, watchers] = await Promise.all([
    api.get(`${path}/neighbours`, { limit: PAGE, after: query.get('after') }, signal),
    api.get(`${path}/watchers`, { limit: MOST_WATCHERS }, signal).catch((error) => { if (isAbort(error)) throw error; return {}; }),
  ]);
  return { partners, watchers };
}

const keyOf = ({ tenant = '', serviceId }) => `${tenant}/${serviceId}`;

/** Watches by consumer: their number, and when the last of them was told something. */
function watching({ items = [] }) {
  const found = new Map();
  for (const { consumer, lastSent = '' } of items) {
    if (!consumer) continue;
    const before = found.get(keyOf(consumer)) ?? { count: 0, lastSent: '' };
    found.set(keyOf(consumer), { count: before.count + 1, lastSent: lastSent > before.lastSent ? lastSent : before.lastSent });
  }
  return found;
}

/** A service of another tenant has no page here. */
export const partnerName = ({ tenant, serviceId, serviceName }) => (tenant || !serviceName
  ? html`${name(serviceName ?? serviceId)}${tenant ? html` <span class="badge">${name(tenant)}</span>` : nothing}`
  : html`<a href=${link('service', serviceId)}>${name(serviceName)}</a>`);

const columns = (more = []) => [
  { key: 'name', label: t('services.name'), rowHeader: true, cell: partnerName },
  { key: 'version', label: t('service.version'), cell: ({ version }) => mono(version ?? '') },
  { key: 'instances', label: t('services.instances'), cell: ({ instances }) => counts(instances, { empty: t('service.notRunning') }) },
  ...more,
  { key: 'appId', label: t('services.application'), cell: ({ appId }) => name(appId ?? '') },
  { key: 'environment', label: t('services.environment'), cell: ({ environment }) => (environment ? name(environment) : html`<span class="muted">–</span>`) },
];

export function view(ctx, { partners, watchers }, { document, labels }) {
  const { consumers = [], providers = [], consumerCount = 0, providerCount = 0, total, next } = partners;
  const watches = watching(watchers);
  const isWhole = !watchers.next && watchers.items;
  const watch = {
    key: 'watch',
    label: t('service.watchesHere'),
    cell: (row) => {
      const found = watches.get(keyOf(row));
      if (!found) return html`<span class="muted">${isWhole ? t('service.noWatch') : t('status.unknown')}</span>`;
      return html`<span>${t('service.watches', { count: found.count })}${found.lastSent ? html` · ${t('service.toldAgo')} ${ago(found.lastSent)}` : nothing}</span>`;
    },
  };
  const running = consumers.filter(({ instances }) => Object.values(instances ?? {}).some((count) => count > 0)).length;
  const isFirst = !ctx.route.query.get('after');
  const ask = (row) => html`<a href=${link('explain', { consumerId: row.serviceId, appId: labels.appId, serviceName: labels.serviceName, env: labels.environment })}>${t('service.whatItFinds')}</a>`;
  return html`
    ${consumers.length || isFirst ? panel(consumerCount && isFirst && consumers.length === consumerCount ? t('service.consumersRunning', { count: consumerCount, running }) : `${t('service.consumers')} (${number(consumerCount)})`, html`
      <p class="pad muted">${t('service.consumersText', { version: visible(document.version) })}</p>
      ${table({ caption: t('service.consumers'), columns: columns([watch]), rows: consumers, keyOf, empty: emptyState(t('service.noConsumers'), t('service.noConsumersText')), actions: ask })}`) : nothing}
    ${providers.length || !next ? panel(`${t('service.providers')} (${number(providerCount)})`, html`
      ${table({ caption: t('service.providers'), columns: columns(), rows: providers, keyOf, empty: t('service.noProviders') })}`) : nothing}
    ${pager(ctx, { total, shown: consumers.length + providers.length, next })}`;
}
