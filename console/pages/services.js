// All services: a name in an application and an environment, with its versions. The server searches, sorts and pages.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { number, t } from '../i18n.js';
import { link } from '../router.js';
import { choose, chips, field, toolbar } from '../ui/filters.js';
import { emptyState, head, skeleton } from '../ui/page.js';
import { pager } from '../ui/pager.js';
import { search } from '../ui/search.js';
import { counts, serviceState } from '../ui/status.js';
import { table } from '../ui/table.js';
import { mono, name, visible } from '../ui/text.js';
import { ago } from '../ui/time.js';

const PAGE = 50;
const STATES = ['noneUp', 'someDown', 'allUp', 'empty'];
const ENVIRONMENTS = ['development', 'testing', 'acceptance', 'production'];
/** Stands for the empty environment in the address of a page. */
export const NO_ENVIRONMENT = 'none';
const FILTERS = ['search', 'appId', 'env', 'status'];
const MOST_VERSIONS = 3;

const keyOf = ({ environment = '', appId, serviceName }) => `${environment}/${appId}/${serviceName}`;

function load({ api, route: { query }, signal }) {
  const env = query.get('env');
  // Requests leave out empty parameters, but the empty environment is one of its own.
  const path = env === NO_ENVIRONMENT ? 'govern/services?env=' : 'govern/services';
  const [search, appId, status, sort, order, after] = ['search', 'appId', 'status', 'sort', 'order', 'after'].map((key) => query.get(key));
  return api.get(path, { search, appId, env: env === NO_ENVIRONMENT ? null : env, status, sort, order, after, limit: PAGE }, signal);
}

function versions({ versions: all = [] }) {
  const shown = all.slice(-MOST_VERSIONS).reverse();
  const rest = all.length - shown.length;
  return html`<span class="inline">${shown.map(({ serviceId, version }) => html`<a href=${link('service', serviceId)}>${mono(version)}</a> `)}${rest
    ? html`<a href=${link('service', all.at(-1).serviceId, 'versions')} aria-label=${t('services.allVersions', { count: all.length })}>+${number(rest)}</a>` : nothing}</span>`;
}

const columns = (ctx) => [
  { key: 'name', label: t('services.name'), sort: true, rowHeader: true, cell: ({ serviceName, versions: all = [] }) => (all.length ? html`<a href=${link('service', all.at(-1).serviceId)}>${name(serviceName)}</a>` : name(serviceName)) },
  { key: 'state', label: t('services.state'), cell: ({ state }) => serviceState(state) },
  { key: 'instances', label: t('services.instances'), sort: true, firstOrder: 'desc', cell: ({ instances, environment, appId, serviceName }) => counts(instances, { href: (status) => link('instances', { status, serviceName, appId, env: environment || NO_ENVIRONMENT }) }) },
  { key: 'versions', label: t('services.versions'), cell: versions },
  { key: 'appId', label: t('services.application'), cell: ({ appId }) => html`<button type="button" class="linklike" title=${t('services.onlyApplication', { name: visible(appId) })} @click=${() => ctx.setQuery({ appId })}>${name(appId)}</button>` },
  { key: 'environment', label: t('services.environment'), cell: ({ environment }) => (environment ? name(environment) : html`<span class="muted">–</span>`) },
  { key: 'changed', label: t('services.changed'), sort: true, firstOrder: 'desc', cell: ({ lastChange, lastChangeRevision }) => (lastChange ? ago(lastChange) : html`<span class="muted" title=${t('services.changedUnknown', { revision: String(lastChangeRevision ?? '') })}>${'–'}</span>`) },
];

function view(ctx) {
  const { data, route: { query } } = ctx;
  const sort = { by: query.get('sort') ?? 'name', order: query.get('order') ?? 'asc' };
  const isFiltered = FILTERS.some((key) => query.get(key));
  const states = STATES.map((value) => ({ value, label: serviceState(value), count: data ? data.counts?.[value] ?? 0 : undefined }));
  const onSort = (by, order) => ctx.setQuery({ sort: by === 'name' ? null : by, order: order === 'asc' ? null : order });
  const clear = () => { ctx.state.typed = {}; ctx.setQuery(Object.fromEntries(FILTERS.map((key) => [key, null]))); };
  const empty = isFiltered
    ? emptyState(t('services.noMatch'), html`<button type="button" @click=${clear}>${t('services.clear')}</button>`)
    : emptyState(t('services.none'), t('services.noneText'));
  return html`${head(t('services.title'), { sub: data ? html`${t('services.total', { count: data.total })} · ${counts(data.instanceCounts, { empty: t('services.noInstances') })}` : nothing,
    actions: isFiltered ? html`<button type="button" @click=${clear}>${t('services.clear')}</button>` : nothing })}
    <div class="services-bar">${toolbar(
    search(ctx, { label: t('services.search') }),
    chips(ctx, { key: 'status', label: t('services.state'), options: states }),
    choose(ctx, { key: 'env', label: t('services.environment'), options: [...ENVIRONMENTS, { value: NO_ENVIRONMENT, label: t('services.noEnvironment') }] }),
    query.get('appId') ? field(ctx, { key: 'appId', label: t('services.application') }) : nothing,
  )}</div>
    ${data ? html`${table({ caption: t('services.title'), columns: columns(ctx), rows: data.items ?? [], keyOf, sort, onSort, empty, tall: true })}
      ${pager(ctx, { total: data.total, shown: data.items?.length ?? 0, next: data.next })}` : skeleton(10)}`;
}

export const page = {
  name: 'services',
  title: () => t('services.title'),
  kinds: ['instance', 'service', 'schema'],
  load,
  view,
};
