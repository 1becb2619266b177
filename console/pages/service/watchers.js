// The watches on this node that are told of the changes of a service, and what they were told last.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { isAbort, segment } from '../../api.js';
import { number, t } from '../../i18n.js';
import { eventTable } from '../../ui/event.js';
import { emptyState, panel } from '../../ui/page.js';
import { pager } from '../../ui/pager.js';
import { judged } from '../../ui/status.js';
import { table } from '../../ui/table.js';
import { mono, name } from '../../ui/text.js';
import { ago } from '../../ui/time.js';
import { partnerName } from './consumers.js';

const PAGE = 50;
const TOLD = 20;

export const kinds = ['instance', 'service'];

export async function load({ api, session, route: { query }, signal }, id) {
  const [watchers, told] = await Promise.all([
    api.get(`govern/services/${segment(id)}/watchers`, { limit: PAGE, after: query.get('after') }, signal),
    session.can('get', 'ops')
      ? api.get('admin/events', { serviceId: id, kind: 'instance', order: 'desc', limit: TOLD }, signal).catch((error) => { if (isAbort(error)) throw error; })
      : undefined,
  ]);
  return { watchers, told };
}

export function view(ctx, { watchers: { items = [], total, next, node }, told }) {
  return html`<p class="muted lead">${t('service.watchersText')} ${node ? mono(node) : nothing}</p>
    ${table({
    caption: t('service.tab.watchers'),
    // Several processes of a consumer may have connected from one address at the same moment.
    rows: items.map((one, place) => ({ ...one, place })),
    keyOf: ({ place }) => place,
    empty: emptyState(t('service.noWatchers'), t('service.noWatchersText')),
    columns: [
      { key: 'consumer', label: t('service.consumer'), rowHeader: true, cell: ({ consumer }) => (consumer ? html`<span>${partnerName(consumer)} <span class="muted">${mono(consumer.version)}</span></span>` : name('')) },
      { key: 'client', label: t('service.client'), cell: ({ client }) => mono(client ?? '') },
      { key: 'since', label: t('service.connected'), cell: ({ connectedSince }) => ago(connectedSince) },
      { key: 'sent', label: t('service.sent'), numeric: true, cell: ({ sent = 0 }) => number(sent) },
      { key: 'last', label: t('service.lastSent'), cell: ({ lastSent }) => (lastSent ? ago(lastSent) : html`<span class="muted">${t('service.never')}</span>`) },
      { key: 'pending', label: t('service.pending'), cell: ({ pending = 0 }) => (pending ? judged('warn', t('service.waiting', { count: pending })) : judged('good', t('service.allSent'))) },
    ],
  })}
    ${pager(ctx, { total, shown: items.length, next })}
    ${told ? html`<div class="below">${panel(t('service.toldEvents'), eventTable({ events: told.items ?? [], caption: t('service.toldEvents'), hide: ['service'] }))}</div>` : nothing}`;
}
