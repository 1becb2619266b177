// One instance: what it is now, or why it is gone, and all that happened to it.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { isAbort, segment } from '../api.js';
import { ago, dateTime, duration, now as clockNow, t, tr } from '../i18n.js';
import { link } from '../router.js';
import { json } from '../ui/json.js';
import { facts, head, notice, panel, skeleton } from '../ui/page.js';
import { pager } from '../ui/pager.js';
import { status, statusWord } from '../ui/status.js';
import { mono, name, visible } from '../ui/text.js';
import { ago as agoTime } from '../ui/time.js';
import { record, total } from './events.js';
import { heartbeat } from './instances.js';
import { drain, receipts } from './service/drain.js';
import { setStatus } from './service/set_status.js';

const PAGE = 50;
/** The kinds that end an instance, and those that begin it. */
const GONE = ['unregistered', 'expired', 'released', 'deletedWithService'].map((kind) => `instance.${kind}`);
const BEGUN = ['registered', 'reregistered', 'restored'].map((kind) => `instance.${kind}`);

const idsOf = (route) => route.params;
const moment = (time) => t('instance.moment', { time: dateTime(time), ago: ago(time) });

/** Undefined for what does not exist or may not be seen. */
async function ifShown(request) {
  try {
    return await request;
  } catch (error) {
    if (isAbort(error) || ![400, 403, 404].includes(error.status)) throw error;
    return undefined;
  }
}

async function load(ctx) {
  const [serviceId, instanceId] = idsOf(ctx.route);
  const { api, signal } = ctx;
  const after = ctx.route.query.get('after') ?? '';
  const mayRead = ctx.session.can('get', 'ops');
  const events = (query) => mayRead && ifShown(api.get('admin/events', { serviceId, instanceId, order: 'desc', ...query }, signal));
  const [past, newest, life, found] = await Promise.all([
    events({ limit: PAGE, after }),
    after ? events({ limit: PAGE }) : undefined,
    mayRead && ifShown(api.get(`admin/instances/${segment(serviceId)}/${segment(instanceId)}/history`, { limit: 1 }, signal)),
    ifShown(api.get('govern/instances', { serviceId, withShared: 1, search: instanceId, limit: 20 }, signal)),
  ]);
  ctx.state.loadedAt = clockNow();
  const now = (found?.items ?? []).find((row) => row.instanceId === instanceId);
  // What is gone is not asked for: an error would only say so.
  const document = (now ?? life?.current) && await ifShown(api.get(`registry/microservices/${segment(serviceId)}/instances/${segment(instanceId)}`, {}, signal));
  return {
    past: past || undefined,
    newest: (newest || past || {}).items ?? [],
    life: life || undefined,
    now,
    document: document?.instance,
  };
}

/** Who or what caused an event, as a part of a sentence. */
function by({ type, account, client } = {}) {
  if (type === 'request') {
    if (account) return t(client ? 'instance.by.accountFrom' : 'instance.by.account', { account: visible(account), client: visible(client) });
    return client ? t('instance.by.client', { client: visible(client) }) : t('instance.by.request');
  }
  return tr(`instance.by.${type}`, t('instance.by.unknown'));
}

/** Why the instance is gone, or since when it is as it is: `{tone, text}`. */
export function story({ newest, life, now, document }) {
  const current = document ?? life?.current;
  const last = newest[0];
  if (!current) {
    if (!last) return { tone: 'warn', text: life?.completeSince ? t('instance.neverSeen', { time: dateTime(life.completeSince) }) : t('instance.notFound') };
    if (!GONE.includes(last.kind)) return { tone: 'warn', text: t('instance.goneUnknown', { time: moment(last.time) }) };
    const { cause = {}, time } = last;
    const when = moment(time);
    if (last.kind === 'instance.expired' && cause.type === 'lease') {
      return { tone: 'warn', text: cause.lastHeartbeat ? t('instance.expired', { when, age: duration(cause.heartbeatAgeSeconds ?? 0), last: dateTime(cause.lastHeartbeat) }) : t('instance.expiredNever', { when }) };
    }
    return { tone: 'warn', text: t(`instance.gone.${last.kind.slice('instance.'.length)}`, { when, by: by(cause) }) };
  }
  const word = statusWord(current.status);
  if (last?.kind === 'instance.held') {
    return { tone: 'warn', text: t('instance.held', { time: moment(last.time), rule: tr(`rule.${last.cause?.rule}`, visible(last.cause?.rule)), until: last.cause?.until ? dateTime(last.cause.until) : '?' }) };
  }
  const change = newest.find((event) => BEGUN.includes(event.kind) || (event.before && event.before.status !== event.instance?.status));
  const tone = current.status === 'UP' ? 'info' : 'warn';
  if (!change || change.instance?.status !== current.status) {
    const since = now?.lastChange ?? now?.registered;
    return { tone, text: since ? t('instance.sinceAtLeast', { status: word, when: moment(since) }) : t('instance.is', { status: word }) };
  }
  return { tone, text: t(BEGUN.includes(change.kind) ? 'instance.sinceBegin' : 'instance.since', { status: word, when: moment(change.time), by: by(change.cause) }) };
}

/** Names and values of the registry, each as text. */
const properties = (title, map) => {
  const entries = Object.entries(map ?? {});
  return entries.length ? panel(title, html`<div class="pad">${facts(entries.map(([key, value]) => [name(key), mono(value)]))}</div>`) : nothing;
};

export const page = {
  name: 'instance',
  title: (route, ctx) => {
    const host = ctx?.data?.document?.hostName ?? ctx?.data?.newest?.[0]?.instance?.hostName;
    return `${t('nav.instance')} ${visible(host || idsOf(route)[1])}`;
  },
  kinds: ['instance', 'service.deleted', 'record'],
  every: 15_000,
  load,
  view(ctx) {
    const { data, route } = ctx;
    const [serviceId, instanceId] = idsOf(route);
    if (!data) return html`${head(t('nav.instance'))}${skeleton()}`;
    const { past, newest, now, document } = data;
    const shown = document ?? data.life?.current ?? newest[0]?.instance ?? {};
    const service = now ?? newest[0]?.service;
    const isThere = Boolean(document ?? data.life?.current);
    const { tone, text } = story(data);
    const known = now ?? {};
    const row = now && { ...now, status: shown.status ?? now.status };
    const mayChange = row && !ctx.session.whyReadOnly('update', 'service', { environment: now.environment ?? '', appId: now.appId, serviceName: now.serviceName });
    return html`${head(shown.hostName ? name(shown.hostName) : mono(instanceId), {
      sub: service ? html`<a href=${link('service', serviceId)}>${name(service.serviceName)}</a> ${mono(service.version)} · ${name([service.appId, service.environment].filter(Boolean).join(' · '))}` : mono(serviceId),
      actions: isThere ? html`${mayChange ? html`<button type="button" @click=${() => setStatus(ctx, row)}>${t('service.setStatus')}</button><button type="button" ?disabled=${row.status === 'OUTOFSERVICE'} @click=${() => drain(ctx, row)}>${t('service.drain')}</button>` : nothing}<a class="button" href=${link('instances', { serviceId, search: instanceId })}>${t('instance.inList')}</a>` : nothing,
    })}
    ${receipts(ctx)}${notice(tone, html`<p class="strong">${text}</p>`)}
    ${panel(t(isThere ? 'instance.now' : 'instance.lastSeen'), html`<div class="pad">${facts([
    [t('instances.status'), isThere ? status(shown.status) : html`<span class="status none"><span class="mark" aria-hidden="true">✗</span><span>${t('instance.goneWord')}</span></span>`],
    [t('instance.id'), mono(instanceId, { copy: true })],
    [t('instances.addresses'), shown.endpoints?.length ? shown.endpoints.map((one) => html`<div>${mono(one)}</div>`) : nothing],
    [t('instance.registered'), known.registered ? agoTime(known.registered) : nothing],
    [t('instances.ttl'), known.ttlSeconds ? duration(known.ttlSeconds) : nothing],
    [t('instances.heartbeat'), !now ? nothing : known.lastHeartbeatAgeSeconds === undefined ? t('instances.noHeartbeat') : heartbeat(ctx, now)],
  ])}</div>`)}
    ${properties(t('instance.properties'), document?.properties)}
    <h2 class="section">${t('instance.history')}</h2>
    ${past ? html`${record(past, { caption: t('instance.history'), hide: ['service', 'instance'], empty: t('instance.noEvents') })}
      ${pager(ctx, { total: total(ctx, past), shown: (past.items ?? []).length, next: past.next })}` : notice('info', t('instance.hidden'))}
    ${document ? html`<details class="raw"><summary>${t('instance.document')}</summary>${json(document)}</details>` : nothing}`;
  },
};
