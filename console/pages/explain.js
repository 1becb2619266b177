// Why a consumer does not find a provider: each rule of a find, passed or failed.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { segment } from '../api.js';
import { language, t, tr } from '../i18n.js';
import { link } from '../router.js';
import { choose, field } from '../ui/filters.js';
import { failure, head, notice, panel, skeleton } from '../ui/page.js';
import { picker, servicesOf } from '../ui/picker.js';
import { counts, judged, status } from '../ui/status.js';
import { table } from '../ui/table.js';
import { escaped, mono, name, shortId, visible } from '../ui/text.js';

const MOST_INSTANCES = 20;
/** The daemon knows no others. */
const ENVIRONMENTS = ['development', 'testing', 'acceptance', 'production'];

const asked = ({ query }) => Object.fromEntries(['consumerId', 'appId', 'serviceName', 'env', 'version', 'tags'].map((key) => [key, query.get(key) ?? '']));
/** Verdicts by what they mean for the consumer. */
const TONES = { found: 'good', noneUp: 'warn', notPermitted: 'unknown' };
const NOTICES = { good: 'info', warn: 'warn', unknown: 'info', bad: 'error' };

/** The daemon explains in English. */
const english = (text) => (text ? html`<bdi lang=${language() === 'en' ? nothing : 'en'}>${escaped(text[0].toUpperCase() + text.slice(1))}</bdi>` : nothing);

const consumerText = (consumer) => (consumer ? `${visible(consumer.serviceName)} ${visible(consumer.version)}` : '');

function form(ctx) {
  const { query } = ctx.route;
  const { consumer } = ctx.data ?? {};
  const consumerId = query.get('consumerId') ?? '';
  const set = (changes) => ctx.setQuery(changes, { replace: false });
  return html`<div class="toolbar form" role="search">
    ${picker(ctx, {
    key: 'consumer',
    label: t('explain.consumer'),
    placeholder: t('explain.anyConsumer'),
    text: consumerId && (consumer?.serviceId === consumerId ? consumerText(consumer) : visible(consumerId)),
    find: servicesOf(ctx.api, { byVersion: true }),
    choose: (option) => set(option ? { consumerId: option.serviceId, env: option.environment || null, appId: query.get('appId') || option.appId } : { consumerId: null }),
  })}
    ${picker(ctx, {
    key: 'provider',
    label: t('explain.provider'),
    placeholder: t('explain.providerHint'),
    text: query.get('serviceName') ?? '',
    find: servicesOf(ctx.api),
    choose: (option) => set(option ? { serviceName: option.serviceName, appId: option.appId, env: option.environment || null } : { serviceName: null }),
    onLeave: true,
    typed: (text) => set({ serviceName: text, appId: query.get('appId') || consumer?.appId || 'default' }),
  })}
    <div class="stacked-field">${field(ctx, { key: 'appId', label: t('explain.application'), placeholder: 'default' })}</div>
    ${consumerId ? html`<div class="field stacked"><span>${t('explain.environment')}</span><span class="given">${consumer?.environment ? name(consumer.environment) : t('explain.environmentOf')}</span></div>`
    : html`<div class="stacked-field">${choose(ctx, { key: 'env', label: t('explain.environment'), all: t('explain.noEnvironment'), options: ENVIRONMENTS })}</div>`}
    <div class="stacked-field">${field(ctx, { key: 'version', label: t('explain.version'), placeholder: '1.2+' })}</div></div>`;
}

function ruleMark({ rule, passed }, stoppedBy) {
  if (passed === true) return judged('good', t('explain.passed'));
  if (passed === false) return judged('bad', t(rule === stoppedBy ? 'explain.stops' : 'explain.failed'));
  return html`<span class="status none"><span class="mark" aria-hidden="true">–</span><span>${t('explain.doesNotApply')}</span></span>`;
}

const rules = ({ steps = [], stoppedBy }) => table({
  caption: t('explain.rules'),
  rows: steps,
  keyOf: (step) => step.rule,
  tone: (step) => (step.rule === stoppedBy ? 'down' : undefined),
  columns: [
    { key: 'rule', label: t('explain.rule'), rowHeader: true, cell: ({ rule }) => html`<span class="strong">${tr(`explain.rule.${rule}`, visible(rule))}</span>` },
    { key: 'result', label: t('explain.result'), cell: (step) => ruleMark(step, stoppedBy) },
    { key: 'saw', label: t('explain.saw'), cell: ({ rule, passed, saw, explanation, change }) => html`${english(saw)}${change && passed !== true ? html`<div><strong>${t('explain.toChange')}</strong> ${english(change)}</div>` : nothing}
      <div class="muted small">${tr(`explain.text.${rule}`, visible(explanation))}</div>` },
  ],
});

const yes = (value, good = 'explain.yes', bad = 'explain.no') => (value === undefined ? nothing : judged(value ? 'good' : 'unknown', t(value ? good : bad)));

const versions = ({ provider }) => panel(t('explain.versions'), table({
  caption: t('explain.versions'),
  rows: provider?.versions ?? [],
  keyOf: (version) => version.serviceId,
  empty: t('explain.noVersions'),
  columns: [
    { key: 'version', label: t('explain.versionName'), rowHeader: true, cell: ({ serviceId, version }) => html`<a href=${link('service', serviceId)}>${mono(version)}</a>` },
    { key: 'instances', label: t('explain.instances'), cell: ({ instances }) => counts(instances) },
    { key: 'visible', label: t('explain.visible'), cell: (version) => yes(version.visible) },
    { key: 'cross', label: t('explain.crossApp'), cell: ({ allowCrossApp }) => t(allowCrossApp ? 'explain.yes' : 'explain.no') },
    { key: 'wanted', label: t('explain.wanted'), hidden: !(provider?.versions ?? []).some(({ wanted }) => wanted !== undefined), cell: ({ wanted }) => yes(wanted) },
  ],
}));

function instances({ instances: all = [], counts: numbers }) {
  if (!all.length) return nothing;
  const total = Object.values(numbers ?? {}).reduce((sum, count) => sum + count, 0);
  return panel(t('explain.found', { count: total }), html`${table({
    caption: t('explain.instances'),
    rows: all.slice(0, MOST_INSTANCES),
    keyOf: (row) => `${row.serviceId} ${row.instanceId}`,
    columns: [
      { key: 'instance', label: t('instances.instance'), rowHeader: true, cell: (row) => html`<a href=${link('instance', row.serviceId, row.instanceId)}>${row.hostName ? name(row.hostName) : t('instances.noHost')} <span class="muted">${shortId(row.instanceId)}</span></a>` },
      { key: 'version', label: t('explain.versionName'), cell: (row) => mono(row.version) },
      { key: 'status', label: t('instances.status'), cell: (row) => status(row.status) },
      { key: 'address', label: t('instances.addresses'), cell: ({ endpoints = [] }) => html`${mono(endpoints[0] ?? '')}${endpoints.length > 1 ? html` <span class="muted">+${endpoints.length - 1}</span>` : nothing}` },
    ],
  })}${total > MOST_INSTANCES ? html`<p class="pad muted">${t('explain.firstOnly', { count: MOST_INSTANCES, total })}</p>` : nothing}`);
}

function suggestions(ctx, { suggestions: all = [] }) {
  if (!all.length) return nothing;
  const query = asked(ctx.route);
  return panel(t('explain.suggestions'), html`<ul class="plain">${all.map((one) => {
    const where = html`${name(one.serviceName)} <span class="muted">${name([one.tenant, one.appId, one.environment].filter(Boolean).join(' · '))}</span> ${counts(one.instances)}`;
    return html`<li><span class="badge">${tr(`explain.near.${one.kind}`, visible(one.kind))}</span> ${one.tenant ? where : html`<a href=${link('explain', { ...query, appId: one.appId, serviceName: one.serviceName, env: one.environment })}>${where}</a>`}</li>`;
  })}</ul>`);
}

function answer(ctx) {
  const { explained } = ctx.data;
  const tone = TONES[explained.verdict] ?? 'bad';
  const stop = (explained.steps ?? []).find((step) => step.rule === explained.stoppedBy);
  return html`${notice(NOTICES[tone], html`<p class="strong">${tr(`explain.verdict.${explained.verdict}`, visible(explained.verdict))}</p><p>${english(explained.summary)}</p>
      ${stop?.change ? html`<p><span class="strong">${t('explain.toChange')}</span> ${english(stop.change)}</p>` : nothing}`)}
    ${panel(t('explain.rules'), rules(explained))}
    ${suggestions(ctx, explained)}${versions(explained)}${instances(explained)}`;
}

export const page = {
  name: 'explain',
  title: () => t('nav.explain'),
  kinds: (route) => (route.query.get('serviceName') ? ['instance', 'service'] : []),
  async load(ctx) {
    const query = asked(ctx.route);
    try {
      if (query.serviceName && query.appId) {
        const explained = await ctx.api.get('govern/explain', query, ctx.signal);
        return { explained, consumer: explained.consumer };
      }
      if (!query.consumerId) return {};
      const { service } = await ctx.api.get(`registry/microservices/${segment(query.consumerId)}`, {}, ctx.signal) ?? {};
      return { consumer: service };
    } catch (problem) {
      // What the form says may be wrong. It stays, so that it can be corrected.
      if (problem.status === 400) return { problem };
      throw problem;
    }
  },
  view(ctx) {
    const query = asked(ctx.route);
    const isAsked = query.serviceName && query.appId;
    return html`${head(t('nav.explain'), { sub: t('explain.sub') })}${form(ctx)}
      ${!isAsked ? html`<div class="empty"><p class="strong">${t('explain.start')}</p><p>${t('explain.startText')}</p></div>` : ctx.data?.explained ? answer(ctx) : ctx.data?.problem ? failure(ctx.data.problem) : skeleton()}`;
  },
};
