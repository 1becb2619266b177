import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { clock, duration, number, t } from '../i18n.js';
import { limitTable, sharedLimits } from '../ui/limits.js';
import { agreement, healthMark, isCurrent, isSilent, nodeName } from '../ui/node.js';
import { facts, head, notice, panel, skeleton } from '../ui/page.js';
import { pager } from '../ui/pager.js';
import { judged } from '../ui/status.js';
import { table } from '../ui/table.js';
import { mono, shortId, visible } from '../ui/text.js';
import { ago } from '../ui/time.js';

const keyOf = (node) => `${node.node} ${node.process ?? node.instanceId}`;

/** Clocks that differ by less do no harm. */
const CLOCKS_AGREE = 1;

function compared(node) {
  if (node.agrees === undefined || (node.agrees && !isCurrent(node))) return judged('unknown', t('nodes.notCompared'));
  return node.agrees ? judged('good', t('nodes.agrees')) : judged('bad', t('nodes.differs'));
}

function store(node) {
  const contact = node.storeContact;
  if (isSilent(node)) return judged('unknown', t('status.unknown'));
  if (contact) {
    return contact.state === 'lost'
      ? judged('bad', t('nodes.noStore', { time: clock(contact.since) }))
      : judged('good', t('nodes.reached'));
  }
  return node.ageSeconds === undefined ? nothing : html`<span>${t('nodes.before', { age: duration(node.ageSeconds) })}</span>`;
}

function offset({ clockOffsetSeconds: seconds }) {
  if (seconds === undefined) return nothing;
  if (Math.abs(seconds) < CLOCKS_AGREE) return html`<span>${t('nodes.clockSame')}</span>`;
  return judged('warn', t(seconds > 0 ? 'nodes.ahead' : 'nodes.behind', { age: duration(Math.abs(seconds)) }));
}

const count = (value) => (value === undefined ? nothing : html`<span>${number(value)}</span>`);

const columns = (hasOthers) => [
  { key: 'node', label: t('nodes.node'), rowHeader: true, cell: nodeName },
  { key: 'health', label: t('nodes.health'), cell: healthMark },
  { key: 'version', label: t('nodes.version'), cell: (node) => mono(node.version ?? node.apiVersion) },
  { key: 'revision', label: t('nodes.revision'), numeric: true, cell: ({ revision }) => count(revision) },
  { key: 'digest', label: t('nodes.digest'), cell: ({ digest }) => (digest ? shortId(digest) : nothing) },
  { key: 'agrees', label: t('nodes.compared'), cell: (node) => (node.ours && hasOthers ? compared(node) : nothing) },
  { key: 'store', label: t('nodes.store'), cell: store },
  { key: 'watchers', label: t('nodes.watchers'), numeric: true, cell: ({ watchers }) => count(watchers) },
  { key: 'held', label: t('nodes.held'), numeric: true, cell: ({ heldExpiries }) => count(heldExpiries) },
];

const isHeld = (digest) => digest && !/^0+$/.test(digest);

const details = (node) => facts([
  [t('nodes.endpoint'), mono(node.endpoint)],
  [t('nodes.digest'), node.digest && mono(node.digest)],
  [t('nodes.heldDigest'), isHeld(node.heldDigest) ? mono(node.heldDigest) : undefined],
  [t('nodes.services'), count(node.services)],
  [t('nodes.instances'), count(node.instances)],
  [t('nodes.heard'), node.ageSeconds ? t('nodes.before', { age: duration(node.ageSeconds) }) : undefined],
  [t('nodes.storeSince'), node.storeContact?.state === 'reached' ? ago(node.storeContact.since) : undefined],
  [t('nodes.clock'), node.self ? undefined : offset(node)],
  [t('nodes.started'), ago(node.started)],
  [t('nodes.alarms'), node.alarms?.length ? html`<a href="#/">${node.alarms.map((id) => visible(id)).join(', ')}</a>` : undefined],
]);

export const page = {
  name: 'nodes',
  title: () => t('nodes.title'),
  // A node writes every 10 s; what joins and leaves is an event.
  kinds: ['node', 'store', 'instance', 'service'],
  every: 10_000,
  load: (ctx) => ctx.api.get('admin/nodes', { limit: 50, after: ctx.route.query.get('after') }, ctx.signal),
  view(ctx) {
    const { data } = ctx;
    const heading = head(t('nodes.title'), { sub: t('nodes.sub') });
    if (!data) return html`${heading}${skeleton(4)}`;
    const nodes = data.items ?? [];
    const [kind, words] = agreement(nodes);
    const shared = sharedLimits(nodes);
    return html`${heading}
      ${kind === 'bad' ? notice('error', html`<p class="strong">${words}</p><p>${t('nodes.differText')}</p>`) : html`<p class="lead">${judged(kind, words)}</p>`}
      ${table({ caption: t('nodes.title'), columns: columns(nodes.length > 1), rows: nodes, keyOf })}
      ${data.next || ctx.route.query.get('after') ? pager(ctx, { total: data.total, shown: nodes.length, next: data.next }) : nothing}
      ${shared.length ? panel(t('nodes.registryLimits'), limitTable(shared, t('nodes.registryLimits'))) : nothing}
      <div class="columns even">${nodes.filter((node) => node.ours && node.time).map((node) => {
      const limits = (node.limits ?? []).filter((limit) => limit.scope === 'node');
      return panel(nodeName(node), html`${details(node)}${limits.length ? limitTable(limits, t('nodes.limitsOf', { node: visible(node.node) })) : nothing}`);
    })}</div>`;
  },
};
