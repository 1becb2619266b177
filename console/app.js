// Starts the console: theme, language, session, routes, and the frame around the pages.

import { html, nothing, render } from './vendor/lit-html/lit-html.js';
import { api, isAbort, isAway } from './api.js';
import { language, minute, store, stored, t, useLanguage } from './i18n.js';
import { live } from './live.js';
import { current, go, link, setQuery } from './router.js';
import { session } from './session.js';
import { focusSearch, listenForKeys, showKeys } from './ui/keys.js';
import { failure, head, notice } from './ui/page.js';
import { visible } from './ui/text.js';

const PAGES = {
  overview: () => import('./pages/overview.js'),
  services: () => import('./pages/services.js'),
  service: () => import('./pages/service.js'),
  topology: () => import('./pages/topology.js'),
  instances: () => import('./pages/instances.js'),
  explain: () => import('./pages/explain.js'),
  events: () => import('./pages/events.js'),
  instance: () => import('./pages/instance.js'),
  nodes: () => import('./pages/nodes.js'),
  access: () => import('./pages/access.js'),
  login: () => import('./pages/login.js'),
};
/** The navigation, and the pages that belong to an entry of it. */
const ENTRIES = [
  ['overview'], ['services', 'service'], ['topology'], ['instances', 'instance'], ['explain'], ['events'], ['nodes'], ['access'],
];
const QUIET = 1000;
/** How often times like "3 min ago" are written anew. */
const TICK = 10_000;

let view;
let frame;
let reloadTimer;
let isMenuOpen = false;
let isTraverse = false;
let wasLost = false;
/** The first page of a visit leaves the focus where a browser puts it. */
let isFirst = true;
const scrolls = new Map();

function redraw() {
  frame ??= requestAnimationFrame(() => { frame = undefined; draw(); });
}

// The pages

/** Whether two routes are one view. An instance has two ids; what follows the id of a service is a tab of it. */
function isSame(one, other) {
  return one.page === other.page && one.params[0] === other.params[0] && (one.page !== 'instance' || one.params[1] === other.params[1]);
}

async function navigate() {
  const route = current();
  if (session.needsLogin() && route.page !== 'login') {
    go(link('login', { back: route.hash === '#/' ? '' : route.hash }), { replace: true });
    return;
  }
  if (view && isSame(view.ctx.route, route)) {
    view.ctx.route = route;
    view.again = false;
    load(view);
    redraw();
    return;
  }
  leave();
  isMenuOpen = false;
  const next = view = { page: undefined, ctx: contextOf(route), isNew: true, scroll: isTraverse ? scrolls.get(route.hash) : undefined };
  isTraverse = false;
  try {
    if (!Object.hasOwn(PAGES, route.page)) throw Object.assign(new Error(), { status: 404, isRoute: true });
    const [module] = await Promise.all([PAGES[route.page](), session.load(api).catch(() => {})]);
    if (view !== next) return;
    next.page = module.page;
    if (!session.needsLogin()) {
      redraw();
      await live.start();
      if (view !== next) return;
    }
    load(next);
  } catch (error) {
    if (view !== next) return;
    next.failed = error;
  }
  redraw();
}

function leave() {
  if (!view) return;
  scrolls.set(view.ctx.route.hash, scrollY);
  if (scrolls.size > 50) scrolls.delete(scrolls.keys().next().value);
  view.controller?.abort();
  clearTimeout(reloadTimer);
  reloadTimer = undefined;
  guarded(() => view.page?.leave?.(view.ctx));
}

function contextOf(route) {
  const ctx = {
    route, api, session, live, t, redraw, go, setQuery,
    data: undefined, loadedRoute: undefined, error: undefined, loading: true, state: {}, signal: undefined,
    reload: () => load(view),
    get stale() { return live.stale || Boolean(ctx.error); },
  };
  return ctx;
}

async function load(one) {
  if (!one.page || one !== view) return;
  one.controller?.abort();
  const controller = one.controller = new AbortController();
  const { ctx } = one;
  const { route } = ctx;
  ctx.signal = controller.signal;
  ctx.loading = true;
  one.began = performance.now();
  redraw();
  // A load that waits must not use the signal or the route of a later one.
  const own = Object.create(ctx, { signal: { value: controller.signal }, route: { value: route } });
  try {
    const data = await one.page.load(own);
    if (controller.signal.aborted) return;
    Object.assign(ctx, { data, error: undefined, loadedRoute: route });
    live.answered();
  } catch (error) {
    if (controller.signal.aborted || isAbort(error)) return;
    ctx.error = error;
    if (isAway(error)) live.missed();
    else if (error.status === undefined) console.error(error);
  }
  ctx.loading = false;
  one.took = performance.now() - one.began;
  redraw();
  if (one.again) later(one);
}

/** Loads anew because something changed: at most once a second, and never so often that the daemon is always busy with it. */
function later(one) {
  one.again = true;
  if (reloadTimer || one.ctx.loading || document.hidden) return;
  const pause = Math.max(QUIET, 2 * (one.took ?? 0));
  reloadTimer = setTimeout(() => {
    reloadTimer = undefined;
    if (one !== view) return;
    one.again = false;
    load(one);
  }, Math.max(0, one.began + pause - performance.now()));
}

/** Ages of heartbeats and the state of other nodes change without an event, so some pages load again after a while. */
const isDue = (one) => one?.page?.every && !one.ctx.loading && live.state !== 'lost' && performance.now() - one.began > one.page.every - TICK / 2;

function kindsOf({ page, ctx }) {
  return (typeof page.kinds === 'function' ? page.kinds(ctx.route) : page.kinds) ?? [];
}

function onEvents({ events, gap }) {
  if (!view?.page) return;
  const wanted = kindsOf(view);
  const concerns = gap ? wanted.length > 0 : events.some(({ kind }) => wanted.some((group) => kind === group || kind?.startsWith(`${group}.`)));
  if (concerns || view.ctx.error) later(view);
}

// The frame

function draw() {
  document.documentElement.classList.toggle('stale', Boolean(view?.ctx.stale) && view.ctx.data !== undefined);
  guarded(() => render(shell(), document.getElementById('shell')));
  const main = document.getElementById('main');
  if (!view) return;
  main.classList.toggle('loading', Boolean(view.ctx.loading));
  const focused = main.contains(document.activeElement) ? document.activeElement : undefined;
  try {
    render(content(), main);
  } catch (error) {
    console.error(error);
    // What was half drawn cannot be drawn again.
    const fresh = main.cloneNode(false);
    main.replaceWith(fresh);
    render(broken(error), fresh);
  }
  // A row that moves to another place loses the focus.
  if (focused?.isConnected && document.activeElement === document.body) focused.focus({ preventScroll: true });
  document.title = `${titleOf(view)} · ${t('app.name')}`;
  const isShown = Boolean(view.page ? view.ctx.data !== undefined || view.ctx.error : view.failed);
  const drawn = document.getElementById('main');
  drawn.dataset.page = view.ctx.route.page;
  drawn.ariaBusy = isShown ? 'false' : 'true';
  if (view.isNew && (isShown || view.page)) settle(isShown);
}

/** After a navigation the focus is on the heading, also when the skeleton gives way to the page. */
function settle(isShown) {
  if (!view.isSeen) scrollTo(0, 0);
  if (!focusSearch({ isLast: isShown }) && !isFirst && (!view.isSeen || document.activeElement === document.body)) document.querySelector('main h1')?.focus({ preventScroll: true });
  view.isSeen = true;
  if (!isShown) return;
  isFirst = false;
  view.isNew = false;
  if (view.scroll) scrollTo(0, view.scroll);
}

const titleOf = (one) => visible(one.page ? one.page.title(one.ctx.route, one.ctx) : t(one.failed ? 'error.title' : `nav.${one.ctx.route.page}`));

function content() {
  const { page, ctx, failed } = view;
  if (failed) {
    return failed.isRoute
      ? html`${head(t('error.noPage'))}<p>${t('error.noPageText')} <a href="#/">${t('nav.overview')}</a></p>`
      : html`${head(t('error.title'))}${failure({ status: 0, message: t('error.unreachable') }, () => location.reload())}`;
  }
  if (!page) return nothing;
  // The banner says it already.
  const problem = ctx.error && !(isAway(ctx.error) && live.state === 'lost' && ctx.data !== undefined) ? failure(ctx.error, () => load(view)) : nothing;
  if (ctx.error && ctx.data === undefined) return html`${head(page.title(ctx.route, ctx))}${problem}`;
  return html`${problem}${page.view(ctx)}`;
}

const broken = (error) => html`${head(t('error.title'))}${notice('error', html`<p class="strong">${t('error.broken')}</p><p class="mono">${visible(error?.message)}</p>`,
  html`<button type="button" @click=${() => location.reload()}>${t('common.reload')}</button>`)}`;

function guarded(work) {
  try { work(); } catch (error) { console.error(error); }
}

function shell() {
  const { page } = view?.ctx.route ?? {};
  const entries = ENTRIES.filter(([entry]) => (entry === 'access' ? session.accounts : !(entry === 'events' || entry === 'nodes') || session.can('get', 'ops')));
  const isOut = session.needsLogin();
  return html`<a class="skip" href=${location.hash || '#/'} @click=${(event) => { event.preventDefault(); document.querySelector('main h1')?.focus(); }}>${t('app.skip')}</a>
    <div class="brand"><a href="#/" class="home"><span class="logo" aria-hidden="true"></span><span>${t('app.name')}</span></a>
      <button type="button" class="menu" aria-expanded=${isMenuOpen ? 'true' : 'false'} aria-controls="menu" @click=${() => { isMenuOpen = !isMenuOpen; redraw(); }}>${t('app.menu')}</button></div>
    <div id="menu" class=${isMenuOpen ? 'open' : ''}>
      ${isOut ? nothing : html`<nav aria-label=${t('app.navigation')}>${entries.map(([entry, ...parts]) => html`<a href=${entry === 'overview' ? '#/' : link(entry)}
        aria-current=${entry === page ? 'page' : parts.includes(page) ? 'true' : nothing}>${t(`nav.${entry}`)}</a>`)}</nav>`}
      <div class="settings">
        ${session.accounts && !isOut ? html`<div class="user"><a href="#/access" title=${t('app.user')}>${visible(session.user())}</a> <button type="button" class="quiet" @click=${() => session.logOut()}>${t('app.logOut')}</button></div>` : nothing}
        <div class="reach">${isOut ? html`<span></span>` : connection()}<button type="button" class="quiet" title=${t('keys.title')} aria-label=${t('keys.title')} @click=${showKeys}>?</button></div>
        <div class="switches">
          <label><span class="visually-hidden">${t('app.language')}</span><select @change=${async (event) => { store('language', event.target.value); await useLanguage(event.target.value); redraw(); }}>
            <option value="en" lang="en" ?selected=${language() === 'en'}>English</option><option value="zh" lang="zh-CN" ?selected=${language() === 'zh'}>中文</option></select></label>
          <label><span class="visually-hidden">${t('app.theme')}</span><select @change=${(event) => setTheme(event.target.value)}>
            ${['auto', 'light', 'dark'].map((theme) => html`<option value=${theme} ?selected=${theme === (stored('theme') ?? 'auto')}>${t(`theme.${theme}`)}</option>`)}</select></label>
        </div>
        <div class="version muted">${visible(session.node)}<br>${visible(session.version)}</div>
      </div></div>
    <div class="banner-place" role="status">${live.state === 'lost' ? html`<div class="banner"><span class="mark" aria-hidden="true">▲</span> <strong>${t('live.lost', { time: minute(live.since) })}</strong>
      <span>${t('live.old')}</span> <button type="button" @click=${() => { live.retry(); load(view); }}>${t('live.retry')}</button></div>` : nothing}</div>`;
}

function connection() {
  const [mark, tone] = { live: ['●', 'up'], polling: ['◐', 'info'], lost: ['▲', 'down'] }[live.state] ?? ['○', 'none'];
  const key = live.state === 'live' || live.state === 'polling' || live.state === 'lost' ? live.state : 'connecting';
  return html`<div class="connection status ${tone}" title=${t(`live.${key}Hint`)}><span class="mark" aria-hidden="true">${mark}</span><span>${t(`live.${key}Word`)}</span></div>`;
}

function setTheme(theme) {
  store('theme', theme);
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// The start

session.onChange = () => {
  if (session.needsLogin()) live.stop();
  redraw();
};
live.onChange = () => {
  // After a loss, a page that hears of no events is old until it is loaded again; the others hear of the gap.
  const isBack = wasLost && (live.state === 'live' || live.state === 'polling');
  if (live.state === 'lost' || isBack) wasLost = live.state === 'lost';
  if (isBack && view?.page && (view.ctx.error || !kindsOf(view).length)) load(view);
  redraw();
};
live.subscribe(onEvents);
listenForKeys({ go, redraw });
addEventListener('hashchange', () => { navigate(); });
globalThis.navigation?.addEventListener('navigate', (event) => { isTraverse = event.navigationType === 'traverse'; });
addEventListener('unhandledrejection', (event) => { if (isAbort(event.reason)) event.preventDefault(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { if (view?.page && view.again) later(view); redraw(); } });
setInterval(() => {
  if (document.hidden) return;
  if (isDue(view)) load(view);
  redraw();
}, TICK);

await useLanguage();
navigate();
// The other pages come while nothing else happens, so that the first click on each is as fast as the second.
(globalThis.requestIdleCallback ?? setTimeout)(() => Object.values(PAGES).forEach((page) => page().catch(() => {})));
