// One service in the middle, its consumers to the left and its providers to the right, by distance.

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { segment } from '../api.js';
import { list, t } from '../i18n.js';
import { link } from '../router.js';
import { chips } from '../ui/filters.js';
import { emptyState, head, notice, panel, skeleton } from '../ui/page.js';
import { picker, serviceLine, servicesOf } from '../ui/picker.js';
import { counts, STATUSES, statusMark, statusWord } from '../ui/status.js';
import { table } from '../ui/table.js';
import { mono, name, visible } from '../ui/text.js';

/** Most services of the drawing, and of one column. */
const MOST = 60;
const COLUMN = 16;
/** Versions of a service on the page without a service. */
const MOST_VERSIONS = 4;
const DISTANCES = ['1', '2', '3'];
/** Requests at a time, and in one load. */
const TOGETHER = 4;
const MOST_REQUESTS = 40;
/** How long the neighbors of the other services count as known, in milliseconds. */
const FRESH = 10_000;

const BOX = { width: 172, height: 34, gap: 6, space: 52, top: 30 };
const SIDES = { consumers: -1, providers: 1 };

const distanceOf = (route) => (DISTANCES.includes(route.query.get('distance')) ? Number(route.query.get('distance')) : 2);
const serviceOf = (route) => route.params[0];

/** One side of a service: `{list, count, service}`. */
async function side(ctx, id, which, limit) {
  const answer = await ctx.api.get(`govern/services/${segment(id)}/neighbours`, { side: which, limit }, ctx.signal);
  return { service: answer.service, list: answer[which] ?? [], count: answer[which === 'consumers' ? 'consumerCount' : 'providerCount'] ?? 0 };
}

async function walk(ctx, id, distance) {
  const known = ctx.state.known ??= new Map();
  const now = performance.now();
  const nodes = new Map();
  const lines = new Map();
  const column = new Map();
  let requests = 0;
  let isOld = false;
  const place = (facts, at) => {
    const found = nodes.get(facts.serviceId);
    if (found) return found;
    if (nodes.size >= MOST || (column.get(at) ?? 0) >= COLUMN) return undefined;
    column.set(at, (column.get(at) ?? 0) + 1);
    const node = { id: facts.serviceId, facts, at, more: 0 };
    nodes.set(node.id, node);
    return node;
  };
  const add = (node, which, { list: partners, count }) => {
    let missing = count - partners.length;
    for (const facts of partners) {
      const partner = place(facts, node.at + SIDES[which]);
      if (!partner) { missing += 1; continue; }
      const [from, to] = which === 'consumers' ? [partner.id, node.id] : [node.id, partner.id];
      lines.set(`${from} ${to}`, { from, to });
    }
    node.more += Math.max(0, missing);
  };
  const sides = await Promise.all(['consumers', 'providers'].map((which) => side(ctx, id, which, COLUMN)));
  const center = place({ ...sides[0].service, serviceId: id }, 0);
  center.consumers = sides[0].count;
  center.providers = sides[1].count;
  add(center, 'consumers', sides[0]);
  add(center, 'providers', sides[1]);
  for (let far = 2; far <= distance; far += 1) {
    // The inner column, those in trouble first: what they need or who needs them is of most interest.
    const inner = [...nodes.values()].filter((node) => Math.abs(node.at) === far - 1 && !node.facts.tenant).sort((a, b) => Number(isUp(a.facts)) - Number(isUp(b.facts)));
    const asked = await together(inner, async (node) => {
      const which = node.at < 0 ? 'consumers' : 'providers';
      const key = `${which} ${node.id}`;
      const before = known.get(key);
      if (before && now - before.at < FRESH) { isOld = true; return [node, which, before.found]; }
      if ((requests += 1) > MOST_REQUESTS) return undefined;
      try {
        const found = await side(ctx, node.id, which, COLUMN);
        known.set(key, { at: now, found });
        return [node, which, found];
      } catch (error) {
        // It may have been deleted just now.
        if (error.status === 400 || error.status === 404) return undefined;
        throw error;
      }
    });
    for (const one of asked) if (one) add(...one);
  }
  for (const [key, { at }] of known) if (now - at > 10 * FRESH) known.delete(key);
  return { nodes: [...nodes.values()], lines: [...lines.values()], center, isOld };
}

async function together(items, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const at = next;
      next += 1;
      results[at] = await work(items[at]);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, worker));
  return results;
}

const isUp = ({ instances }) => (instances?.UP ?? 0) > 0;
const isEmpty = ({ instances }) => !Object.values(instances ?? {}).some((count) => count > 0);

// The drawing

/** Columns with their nodes in an order that has few crossings: each node is near those that it is connected with in the inner column. */
function layout({ nodes, lines }) {
  const columns = new Map();
  for (const node of nodes) columns.set(node.at, [...columns.get(node.at) ?? [], node]);
  const partners = new Map(nodes.map((node) => [node.id, []]));
  for (const { from, to } of lines) {
    partners.get(from).push(to);
    partners.get(to).push(from);
  }
  const row = new Map();
  const distances = [...columns.keys()].sort((a, b) => Math.abs(a) - Math.abs(b));
  for (const at of distances) {
    const inner = at - Math.sign(at);
    const weight = (node) => {
      const rows = partners.get(node.id).filter((id) => row.get(id)?.at === inner).map((id) => row.get(id).index);
      return rows.length ? rows.reduce((sum, one) => sum + one, 0) / rows.length : Infinity;
    };
    const sorted = columns.get(at).map((node) => ({ node, weight: weight(node) })).sort((a, b) => (a.weight === b.weight ? 0 : a.weight - b.weight)
      || a.node.facts.serviceName.localeCompare(b.node.facts.serviceName));
    sorted.forEach(({ node }, index) => row.set(node.id, { at, index }));
    columns.set(at, sorted.map(({ node }) => node));
  }
  const order = [...columns.keys()].sort((a, b) => a - b);
  const step = BOX.height + BOX.gap;
  const tallest = Math.max(...order.map((at) => columns.get(at).length));
  const places = new Map();
  order.forEach((at, index) => {
    const all = columns.get(at);
    const top = BOX.top + ((tallest - all.length) * step) / 2;
    all.forEach((node, place) => places.set(node.id, { x: index * (BOX.width + BOX.space), y: top + place * step, column: index, row: place }));
  });
  return { columns: order.map((at) => ({ at, nodes: columns.get(at) })), places, width: order.length * (BOX.width + BOX.space) - BOX.space, height: BOX.top + tallest * step };
}

const sideWord = (at) => t(at === 0 ? 'topology.center' : Math.abs(at) === 1 ? (at < 0 ? 'topology.consumers' : 'topology.providers') : (at < 0 ? 'topology.before' : 'topology.after'), { count: Math.abs(at) });

/** Cuts a text to a width: letters of East Asia count nearly double. */
function fit(text, most) {
  let width = 0;
  let end = 0;
  for (const char of text) {
    width += char.codePointAt(0) > 0x2e7f ? 1.8 : 1;
    if (width > most) return `${text.slice(0, end)}…`;
    end += char.length;
  }
  return text;
}

const said = (facts) => {
  const numbers = Object.entries(facts.instances ?? {}).filter(([, count]) => count > 0).map(([key, count]) => `${statusWord(key)} ${count}`);
  return `${visible(facts.serviceName)} ${visible(facts.version)}. ${numbers.length ? numbers.join(', ') : t('state.empty')}`;
};
const spoken = (node) => `${said(node.facts)}. ${sideWord(node.at)}`;
const target = (node) => (node.facts.tenant ? undefined : node.at === 0 ? link('service', node.id) : link('topology', node.id, {}));

function box(ctx, node, { x, y }) {
  const { facts } = node;
  const numbers = Object.entries(facts.instances ?? {}).filter(([, count]) => count > 0).sort(([a], [b]) => STATUSES.indexOf(a) - STATUSES.indexOf(b)).slice(0, 4);
  const kind = `node ${node.at === 0 ? 'center' : ''} ${isEmpty(facts) ? 'none' : isUp(facts) ? '' : 'down'}`;
  const hot = (on) => () => { ctx.state.hot = on ? node.id : undefined; ctx.redraw(); };
  const inside = svg`<title>${spoken(node)}${node.more ? `. ${t('topology.more', { count: node.more })}` : ''}</title>
    <rect x=${x + 1} y=${y} width=${BOX.width - 2} height=${BOX.height} rx="5"></rect>
    <text class="node-name" x=${x + 9} y=${y + 14}>${fit(visible(facts.serviceName), 22)}</text>
    <text class="node-more" x=${x + 9} y=${y + 28}><tspan>${fit(visible(facts.version), 10)}</tspan>${numbers.length
    ? numbers.map(([key, count]) => svg`<tspan class="svg-mark ${statusMark(key).tone}" dx="7">${statusMark(key).mark}</tspan><tspan dx="3">${count}</tspan>`)
    : svg`<tspan dx="7">○ 0</tspan>`}${node.more && node.at !== 0 ? svg`<tspan dx="7">+${node.more}</tspan>` : nothing}</text>`;
  const href = target(node);
  return href
    ? svg`<a class=${kind} href=${href} data-node=${node.id} aria-current=${node.at === 0 ? 'true' : nothing}
        @mouseenter=${hot(true)} @mouseleave=${hot(false)} @focus=${hot(true)} @blur=${hot(false)}>${inside}</a>`
    : svg`<g class=${kind} role="img" aria-label=${spoken(node)}>${inside}</g>`;
}

function curve({ from, to }, places) {
  const [a, b] = [places.get(from), places.get(to)];
  const half = BOX.height / 2;
  if (from === to) return `M${a.x + 20},${a.y} c-10,-22 30,-22 20,0`;
  const [x1, y1, y2] = [a.x + BOX.width, a.y + half, b.y + half];
  const x2 = b.x - 3;
  if (b.column > a.column) {
    const bend = BOX.space / 2 + (b.column - a.column - 1) * 40;
    return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
  }
  // A line back, or within a column: around the right of the one and the left of the other.
  return `M${x1},${y1} C${x1 + BOX.space},${y1 - BOX.height} ${x2 - BOX.space},${y2 + BOX.height} ${x2},${y2}`;
}

function drawing(ctx, graph) {
  const { columns, places, width, height } = layout(graph);
  const { hot } = ctx.state;
  middle(ctx, places);
  const isHot = ({ from, to }) => hot !== undefined && (from === hot || to === hot);
  const lines = [...graph.lines].sort((a, b) => Number(isHot(a)) - Number(isHot(b)));
  return html`<div class="graph" tabindex="0" role="region" aria-label=${t('topology.drawing')} @keydown=${(event) => move(event, columns, places)}>
    <svg width=${width} height=${height} viewBox="0 0 ${width} ${height}" role="group" aria-label=${t('topology.drawing')}>
      <defs><marker id="arrow" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path class="arrow" d="M0,0L6,3L0,6z"></path></marker></defs>
      ${columns.map(({ at }, index) => svg`<text class="column-name" x=${index * (BOX.width + BOX.space) + BOX.width / 2} y="14" text-anchor="middle">${sideWord(at)}</text>`)}
      ${lines.map((line) => svg`<path class=${`edge ${places.get(line.to).column > places.get(line.from).column ? '' : 'back'} ${hot === undefined ? '' : isHot(line) ? 'hot' : 'cold'}`} d=${curve(line, places)} marker-end="url(#arrow)"></path>`)}
      ${repeat(columns.flatMap((column) => column.nodes), (node) => node.id, (node) => box(ctx, node, places.get(node.id)))}
    </svg></div>`;
}

/** The middle comes into sight once. */
function middle(ctx, places) {
  const id = serviceOf(ctx.route);
  if (ctx.state.middle === id) return;
  ctx.state.middle = id;
  requestAnimationFrame(() => {
    const [place, element] = [places.get(id), document.querySelector('main .graph')];
    if (!place || !element) return;
    element.scrollLeft = place.x + BOX.width / 2 - element.clientWidth / 2;
    element.scrollTop = place.y + BOX.height / 2 - element.clientHeight / 2;
  });
}

/** Arrow keys go to the next service in their direction. */
function move(event, columns, places) {
  const id = event.target.closest?.('[data-node]')?.dataset.node;
  const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  if (!id || across === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const here = places.get(id);
  const nodes = columns[here.column + across]?.nodes.filter((node) => target(node)) ?? [];
  const distance = (node) => Math.abs(places.get(node.id).y - here.y);
  const next = across ? nodes.reduce((best, node) => (!best || distance(node) < distance(best) ? node : best), undefined) : nodes[nodes.findIndex((node) => node.id === id) + down];
  if (next) [...event.currentTarget.querySelectorAll('[data-node]')].find((element) => element.dataset.node === next.id)?.focus();
}

// The table

function rowsOf(ctx, { nodes, lines }) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const names = (ids) => {
    const some = ids.map((id) => byId.get(id)).filter(Boolean);
    return html`${some.slice(0, 4).map((node, index) => html`${index ? ', ' : nothing}${name(node.facts.serviceName)}`)}${some.length > 4 ? ` +${some.length - 4}` : nothing}`;
  };
  return table({
    caption: t('topology.table'),
    rows: [...nodes].sort((a, b) => a.at - b.at || a.facts.serviceName.localeCompare(b.facts.serviceName)),
    keyOf: (node) => node.id,
    tone: (node) => (node.at === 0 ? 'chosen' : undefined),
    columns: [
      { key: 'service', label: t('topology.service'), rowHeader: true, cell: ({ id, facts }) => html`${facts.tenant ? name(facts.serviceName) : html`<a href=${link('service', id)}>${name(facts.serviceName)}</a>`} ${mono(facts.version)}` },
      { key: 'where', label: t('topology.place'), cell: (node) => html`<span class="nowrap">${sideWord(node.at)}</span>` },
      { key: 'app', label: t('topology.application'), cell: ({ facts }) => name([facts.appId, facts.environment, facts.tenant].filter(Boolean).join(' · ')) },
      { key: 'instances', label: t('topology.instances'), cell: ({ facts }) => counts(facts.instances) },
      { key: 'uses', label: t('topology.uses'), cell: ({ id }) => names(lines.filter((line) => line.from === id).map((line) => line.to)) },
      { key: 'used', label: t('topology.usedBy'), cell: ({ id }) => names(lines.filter((line) => line.to === id).map((line) => line.from)) },
    ],
    actions: (node) => (node.at === 0 || node.facts.tenant ? nothing : html`<a href=${link('topology', node.id)} aria-label=${t('topology.centerOn', { name: visible(node.facts.serviceName) })}>${t('topology.toCenter')}</a>`),
  });
}

function left({ center, nodes }) {
  const shown = (at) => nodes.filter((node) => node.at === at).length;
  const parts = [];
  for (const [which, at] of Object.entries(SIDES)) {
    const hidden = center[which] - shown(at);
    if (hidden > 0 && center[which] > COLUMN) parts.push(html`<a href=${link('service', center.id, 'consumers')}>${t(`topology.all.${which}`, { count: center[which] })}</a>`);
  }
  return parts.length || nodes.length >= MOST ? notice('info', html`${t('topology.cut', { shown: nodes.length })} ${parts.map((part, index) => html`${index ? ' · ' : ''}${part}`)}`) : nothing;
}

/** A service with links to its newest versions. */
const startLine = ({ serviceName, versions = [], ...service }) => html`<li class="line">${name(serviceName)} ${[...versions].reverse().slice(0, MOST_VERSIONS)
  .map(({ serviceId, version }) => html`<a href=${link('topology', serviceId)} aria-label=${`${visible(serviceName)} ${visible(version)}`}>${mono(version)}</a>`)}${serviceLine({ ...service, serviceName: undefined })}</li>`;

async function start(ctx) {
  const { items = [] } = await ctx.api.get('govern/services', { sort: 'instances', order: 'desc', limit: 12 }, ctx.signal);
  return { start: items };
}

const choice = (ctx) => picker(ctx, {
  key: 'service',
  label: t('topology.choose'),
  placeholder: t('topology.chooseHint'),
  text: ctx.data?.center ? `${visible(ctx.data.center.facts.serviceName)} ${visible(ctx.data.center.facts.version)}` : '',
  find: servicesOf(ctx.api, { byVersion: true }),
  choose: (option) => { if (option) ctx.go(link('topology', option.serviceId, Object.fromEntries(ctx.route.query))); },
});

export const page = {
  name: 'topology',
  title: (route, ctx) => (ctx?.data?.center ? `${t('nav.topology')}: ${visible(ctx.data.center.facts.serviceName)}` : t('nav.topology')),
  kinds: ['service', 'instance'],
  async load(ctx) {
    const id = serviceOf(ctx.route);
    if (!id) return start(ctx);
    let graph;
    try {
      graph = await walk(ctx, id, distanceOf(ctx.route));
    } catch (error) {
      if (error.status !== 400 && error.status !== 404) throw error;
      return { ...await start(ctx), isGone: true };
    }
    clearTimeout(ctx.state.timer);
    if (graph.isOld) ctx.state.timer = setTimeout(ctx.reload, FRESH);
    return graph;
  },
  leave(ctx) { clearTimeout(ctx.state.timer); },
  view(ctx) {
    const { data } = ctx;
    const tools = html`<div class="toolbar form" role="search">${choice(ctx)}${serviceOf(ctx.route)
      ? html`<div class="field stacked"><span>${t('topology.distance')}</span>${chips(withDistance(ctx), { key: 'distance', label: t('topology.distance'), all: null, options: DISTANCES.map((value) => ({ value, label: value })) })}</div>` : nothing}</div>`;
    if (!data) return html`${head(t('nav.topology'))}${tools}${skeleton()}`;
    if (!data.center) {
      return html`${head(t('nav.topology'), { sub: t('topology.sub') })}${data.isGone ? notice('warn', t('topology.gone')) : nothing}${tools}
        ${data.start.length ? panel(t('topology.largest'), html`<ul class="plain">${data.start.map(startLine)}</ul>`) : emptyState(t('overview.noServices'))}`;
    }
    const { center, nodes } = data;
    return html`${head(html`${name(center.facts.serviceName)} ${mono(center.facts.version)}`, {
      sub: t('topology.figures', { consumers: center.consumers, providers: center.providers }),
      actions: html`<a class="button" href=${link('service', center.id)}>${t('topology.toService')}</a>`,
    })}${tools}${left(data)}
      ${nodes.length === 1 ? notice('info', t('topology.alone')) : drawing(ctx, data)}
      <p class="muted small legend">${t('topology.legend')} ${list(STATUSES.map((value) => `${statusMark(value).mark} ${statusWord(value)}`))}</p>
      ${panel(t('topology.table'), rowsOf(ctx, data))}`;
  },
};

/** The distance that is used without a choice shows as chosen. */
function withDistance(ctx) {
  const query = new URLSearchParams(ctx.route.query);
  query.set('distance', String(distanceOf(ctx.route)));
  return { route: { ...ctx.route, query }, setQuery: ctx.setQuery };
}

