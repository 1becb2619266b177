// One version of a service. Each tab is a module in `service/` with `load(ctx, id)` and `view(ctx, data, service)`.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { ApiError, isAbort, segment } from '../api.js';
import { t } from '../i18n.js';
import { link } from '../router.js';
import { copyButton } from '../ui/copy.js';
import { eventTable } from '../ui/event.js';
import { failure, head, notice, panel, skeleton } from '../ui/page.js';
import { counts } from '../ui/status.js';
import { tabs } from '../ui/tabs.js';
import { mono, name, shortId, visible } from '../ui/text.js';
import * as consumers from './service/consumers.js';
import * as contracts from './service/contracts.js';
import * as events from './service/events.js';
import * as instances from './service/instances.js';
import { properties, raw, tags } from './service/facts.js';
import * as versions from './service/versions.js';
import * as watchers from './service/watchers.js';

const TABS = { instances, versions, consumers, watchers, contracts, tags, properties, events, json: raw };
/** Tabs that need a right of their own. */
const NEEDS = { contracts: 'service/schema', events: 'ops' };
const NO_SERVICE = '400012';
const GONE_EVENTS = 20;

const isAllowed = ({ session }, tab, labels) => !NEEDS[tab] || session.can('get', NEEDS[tab], tab === 'contracts' ? labels : undefined);

const tabOf = (route) => (Object.hasOwn(TABS, route.params[1] ?? '') ? route.params[1] : 'instances');

async function load(ctx) {
  const { api, route, signal } = ctx;
  const id = route.params[0] ?? '';
  if (!id || id === '.' || id === '..') throw new ApiError({ status: 404, message: t('service.noId') });
  const tab = tabOf(route);
  const parts = await Promise.all([
    api.get(`registry/microservices/${segment(id)}`, {}, signal).then(({ service }) => service, (error) => {
      if (error.code === NO_SERVICE) return undefined;
      throw error;
    }),
    api.get(`govern/services/${segment(id)}/neighbours`, { limit: 1 }, signal).catch(unlessOver),
    api.get('govern/services', { search: id, withShared: 1, limit: 20 }, signal).catch(unlessOver),
    Promise.resolve(isAllowed(ctx, tab) ? TABS[tab].load?.(ctx, id) : undefined).catch(unlessOver),
  ]);
  const [document, neighbors, found, own] = parts;
  if (!document) return { gone: await lastEvents(ctx, id) };
  if (neighbors?.failed) throw neighbors.failed;
  const siblings = (found.items ?? []).find(({ versions: all = [] }) => all.some(({ serviceId }) => serviceId === id))?.versions;
  const service = {
    id,
    document,
    labels: { environment: document.environment ?? '', appId: document.appId, serviceName: document.serviceName },
    instances: neighbors.service?.instances ?? {},
    consumerCount: neighbors.consumerCount ?? 0,
    providerCount: neighbors.providerCount ?? 0,
    versions: siblings ?? [{ serviceId: id, version: document.version }],
  };
  return { service, tab, own };
}

/** What a part of the page says if its request fails. An abort ends the whole load. */
function unlessOver(error) {
  if (isAbort(error) || error.status === 0 || error.status === 401) throw error;
  return { failed: error };
}

const lastEvents = async ({ api, session, signal }, id) => (session.can('get', 'ops')
  ? api.get('admin/events', { serviceId: id, order: 'desc', limit: GONE_EVENTS }, signal).catch(unlessOver)
  : { failed: true });

function gone({ route }, { gone: record }) {
  return html`${head(t('service.goneTitle'), { sub: mono(route.params[0]) })}
    ${notice('warn', html`<p class="strong">${t('service.gone')}</p><p>${t('service.goneText')} <a href="#/services">${t('nav.services')}</a></p>`)}
    ${record.failed ? nothing : panel(t('service.goneEvents'), eventTable({ events: record.items ?? [], caption: t('service.goneEvents'), empty: t('service.goneNoEvents') }))}`;
}

function sub({ id, document, instances: byStatus, versions: all }, tab) {
  const choose = all.length > 1
    ? html`<label class="field"><span>${t('service.version')}</span><select @change=${(event) => { location.hash = link('service', event.target.value, ...tab); }}>
      ${[...all].reverse().map(({ serviceId, version }) => html`<option value=${serviceId} ?selected=${serviceId === id}>${visible(version)}</option>`)}</select></label>`
    : html`<span>${t('service.version')} ${mono(document.version)}</span>`;
  return html`<div class="row facts-line">${choose}
    <span>${t('services.application')} <a href=${link('services', { appId: document.appId })}>${name(document.appId)}</a></span>
    <span>${t('services.environment')} ${document.environment ? name(document.environment) : t('services.noEnvironment')}</span>
    <span>${counts(byStatus, { empty: t('services.noInstances') })}</span>
    <span class="nowrap">${t('service.id')} ${shortId(id, 12)}${copyButton(id, t('service.copyId'))}</span></div>
    ${document.description ? html`<p class="description">${name(document.description)}</p>` : nothing}`;
}

function view(ctx) {
  const { data, route } = ctx;
  if (!data) return html`${head(t('nav.service'))}${skeleton(8)}`;
  if (data.gone) return gone(ctx, data);
  const { service } = data;
  const tab = tabOf(route);
  const total = Object.values(service.instances).reduce((sum, count) => sum + count, 0);
  const numbers = { instances: total, versions: service.versions.length, consumers: service.consumerCount + service.providerCount };
  const entries = Object.keys(TABS).filter((id) => id === tab || isAllowed(ctx, id, service.labels)).map((id) => ({ id, href: link('service', service.id, ...(id === 'instances' ? [] : [id])), label: t(`service.tab.${id}`), count: numbers[id] }));
  const { document } = service;
  const actions = html`<a class="button" href=${link('topology', service.id)}>${t('nav.topology')}</a>
    <a class="button" href=${link('explain', { appId: document.appId, serviceName: document.serviceName, env: document.environment })}>${t('nav.explain')}</a>`;
  const shown = !isAllowed(ctx, tab) ? notice('info', t('overview.hidden'))
    : data.tab !== tab ? skeleton(6) : data.own?.failed ? failure(data.own.failed, () => ctx.reload()) : TABS[tab].view(ctx, data.own, service);
  return html`${head(name(document.serviceName), { sub: sub(service, tab === 'instances' ? [] : [tab]), actions })}
    ${tabs(entries, tab, t('service.tabs'))}
    <div class="tab">${shown}</div>`;
}

export const page = {
  name: 'service',
  title: (route, ctx) => ctx?.data?.service?.document.serviceName ?? t('nav.service'),
  kinds: (route) => TABS[tabOf(route)].kinds,
  every: 15_000,
  load,
  view,
};
