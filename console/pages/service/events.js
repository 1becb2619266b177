// The events of one version, its instances and its contracts, as the record of the node has them.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../../i18n.js';
import { link } from '../../router.js';
import { eventTable } from '../../ui/event.js';
import { chips, toolbar } from '../../ui/filters.js';
import { pager } from '../../ui/pager.js';
import { when } from '../../ui/time.js';
import { GONE } from './gone.js';

const PAGE = 50;
const GROUPS = { gone: GONE, changed: 'instance.changed', came: 'instance.registered,instance.reregistered,instance.restored', service: 'service,schema' };

export const kinds = ['instance', 'service', 'schema'];

export const load = ({ api, route: { query }, signal }, id) => api.get('admin/events', { serviceId: id, kind: GROUPS[query.get('kind')], order: 'desc', limit: PAGE, after: query.get('after') }, signal);

export function view(ctx, { items = [], total, next, completeSince }, { id }) {
  const { query } = ctx.route;
  return html`${toolbar(
    chips(ctx, { key: 'kind', label: t('event.kind'), options: Object.keys(GROUPS).map((value) => ({ value, label: t(`service.events.${value}`) })) }),
    completeSince ? html`<span class="muted">${t('service.completeSince')} ${when(completeSince)}</span>` : nothing,
    html`<a href=${link('events', { serviceId: id })}>${t('service.follow')}</a>`,
  )}
    ${eventTable({ events: items, caption: t('service.tab.events'), hide: ['service'], empty: query.get('kind') ? t('service.noSuchEvents') : t('event.none'), tall: true })}
    ${pager(ctx, { total, shown: items.length, next })}`;
}
