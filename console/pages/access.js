// Accounts, roles and locks. The page never takes away the last right of its own user to change accounts.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { segment } from '../api.js';
import { list, t, tr } from '../i18n.js';
import { link } from '../router.js';
import { copyButton } from '../ui/copy.js';
import { confirm, dialog } from '../ui/dialog.js';
import { toolbar } from '../ui/filters.js';
import { emptyState, head, notice, panel, skeleton } from '../ui/page.js';
import { search } from '../ui/search.js';
import { judged } from '../ui/status.js';
import { table } from '../ui/table.js';
import { tabs } from '../ui/tabs.js';
import { toast } from '../ui/toast.js';
import { mono, name, visible } from '../ui/text.js';
import { ago } from '../ui/time.js';

const ADMIN = 'admin';
const ROOT = 'root';
/** Roles that the daemon makes and keeps. */
const BUILT_IN = [ADMIN, 'developer'];
const VERBS = ['get', 'create', 'update', 'delete'];
const TYPES = ['service', 'service/schema', 'ops', 'account', 'role', 'governance', 'config'];
/** The types of which a role may name some by labels. */
const LABELED = ['service', 'service/schema'];
const LABELS = ['environment', 'appId', 'serviceName'];
const MOST_ROLES = 5;
/** Most rows that are drawn. The search shows the others. */
const MOST_ROWS = 100;
const NAME = '[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9_.\\-]*[a-zA-Z0-9]';

const tabOf = (route) => (['roles', 'locks'].includes(route.params[0]) ? route.params[0] : 'accounts');
const time = (seconds) => (seconds ? ago(Number(seconds) * 1000) : nothing);

// The rule that nobody locks himself out

const allows = (role, verb, type) => (role?.perms ?? []).some((permission) => (permission?.verbs ?? []).some((one) => one === '*' || one === verb)
  && (permission?.resources ?? []).some((resource) => resource?.type === type));

/** Whether roles let an account read and change accounts. */
export function keepsAccess(names, roles) {
  if (names.includes(ADMIN)) return true;
  const own = roles.filter((role) => names.includes(role.name));
  return ['get', 'update'].every((verb) => own.some((role) => allows(role, verb, 'account')));
}

/** Whether the user could no longer read and change accounts if a role had these permissions. */
export function wouldLockOut(user, changed, { accounts, roles }) {
  const own = accounts.find((account) => account.name === user)?.roles ?? [];
  if (!own.includes(changed.name)) return false;
  return keepsAccess(own, roles) && !keepsAccess(own, roles.map((role) => (role.name === changed.name ? changed : role)));
}

// Dialogs

const passwordField = (label, key, { isNew = true, hint = nothing } = {}) => html`<label class="field stacked"><span>${label}</span>
  <input type="password" name=${key} required maxlength="64" autocomplete=${isNew ? 'new-password' : 'current-password'}></label>${hint === nothing ? nothing : html`<p class="muted small">${hint}</p>`}`;

const foot = (close, busy, action, isOff = false) => html`<div class="dialog-actions"><button type="button" ?disabled=${busy} @click=${() => close()}>${t('common.cancel')}</button>
  <button type="submit" class="primary" ?disabled=${busy || isOff} aria-busy=${busy ? 'true' : nothing}>${action}</button></div>`;

const problem = (text) => (text ? notice('error', text) : nothing);

function choices(roles, chosen, redraw) {
  return html`<fieldset class="options"><legend>${t('access.rolesOf', { most: MOST_ROLES })}</legend>${roles.map(({ name: role }) => html`<label><input type="checkbox" .checked=${live(chosen.has(role))}
    ?disabled=${!chosen.has(role) && chosen.size >= MOST_ROLES} @change=${(event) => { if (event.target.checked) chosen.add(role); else chosen.delete(role); redraw(); }}> ${name(role)}</label>`)}</fieldset>`;
}

async function createAccount(ctx) {
  const { roles } = ctx.data;
  const chosen = new Set();
  let isMade = true;
  const made = await dialog({
    title: t('access.createAccount'),
    view: ({ close, redraw, busy, run }) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      const fields = new FormData(event.target);
      const account = { name: fields.get('name'), roles: [...chosen] };
      if (!isMade) account.password = fields.get('password');
      run(async () => {
        const [result] = (await ctx.api.sendRoot('POST', 'v4/accounts/batch-create', { accounts: [account] })).accounts ?? [];
        if (result?.errorCode) throw Object.assign(new Error([result.errorMessage, result.detail].filter(Boolean).join(': ')), { status: 400 });
        return { name: account.name, password: result?.password };
      });
    }}><div class="dialog-body">
      <label class="field stacked"><span>${t('access.name')}</span><input type="text" name="name" required maxlength="64" pattern=${NAME} title=${t('access.nameHint')} autocomplete="off" spellcheck="false" autofocus></label>
      <p class="muted small">${t('access.nameHint')}</p>
      ${choices(roles, chosen, redraw)}
      <label class="check"><input type="checkbox" .checked=${live(isMade)} @change=${(event) => { isMade = event.target.checked; redraw(); }}> ${t('access.makePassword')}</label>
      ${isMade ? nothing : passwordField(t('login.password'), 'password', { hint: t('access.passwordHint') })}</div>
      ${foot(close, busy, t('access.create'), !chosen.size)}</form>`,
  });
  if (!made) return;
  ctx.reload();
  if (made.password) await showPassword(made);
  else toast(t('access.created', { name: visible(made.name) }));
}

const showPassword = ({ name: account, password }) => dialog({
  title: t('access.created', { name: visible(account) }),
  view: ({ close }) => html`<div class="dialog-body"><p>${t('access.shownOnce')}</p><p class="secret">${mono(password)} ${copyButton(password)}</p></div>
    <div class="dialog-actions"><button type="button" class="primary" autofocus @click=${() => close()}>${t('common.close')}</button></div>`,
});

async function editAccount(ctx, account) {
  const chosen = new Set(account.roles ?? []);
  let isActive = account.status !== 'inactive';
  const done = await dialog({
    title: t('access.editAccount', { name: visible(account.name) }),
    view: ({ close, redraw, busy, run }) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      run(async () => {
        await ctx.api.sendRoot('PUT', `v4/accounts/${segment(account.name)}`, { roles: [...chosen], status: isActive ? 'active' : 'inactive' });
        return true;
      });
    }}><div class="dialog-body">${choices(ctx.data.roles, chosen, redraw)}
      <label class="check"><input type="checkbox" .checked=${live(isActive)} @change=${(event) => { isActive = event.target.checked; redraw(); }}> ${t('access.isActive')}</label>
      <p class="muted small">${t('access.activeHint')}</p></div>
      ${foot(close, busy, t('access.save'), !chosen.size)}</form>`,
  });
  if (done) { toast(t('access.saved', { name: visible(account.name) })); ctx.reload(); }
}

async function changePassword(ctx, account) {
  const isOwn = account === ctx.session.user();
  let wrong;
  const done = await dialog({
    title: t('access.passwordOf', { name: visible(account) }),
    view: ({ close, redraw, busy, run }) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      const fields = new FormData(event.target);
      wrong = fields.get('password') === fields.get('again') ? undefined : t('access.notSame');
      redraw();
      if (wrong) return;
      const body = { password: fields.get('password'), ...(isOwn ? { currentPassword: fields.get('current') } : {}) };
      run(async () => { await ctx.api.sendRoot('POST', `v4/accounts/${segment(account)}/password`, body); return true; });
    }}><div class="dialog-body"><input type="text" name="username" autocomplete="username" .value=${account} hidden>
      ${isOwn ? passwordField(t('access.current'), 'current', { isNew: false }) : nothing}
      ${passwordField(t('access.newPassword'), 'password', { hint: t('access.passwordHint') })}${passwordField(t('access.again'), 'again')}</div>
      ${problem(wrong)}${foot(close, busy, t('access.changePassword'))}</form>`,
  });
  if (done) toast(t('access.passwordChanged', { name: visible(account) }));
}

async function remove(ctx, what, { name: one }) {
  const done = await confirm({
    title: t(`access.delete.${what}`, { name: visible(one) }),
    body: t(`access.deleteText.${what}`),
    action: t('access.delete'),
    danger: true,
    typed: one,
    work: () => ctx.api.sendRoot('DELETE', `v4/${what}s/${segment(one)}`),
  });
  if (done) { toast(t('access.deleted', { name: visible(one) })); ctx.reload(); }
}

// The editor of a role

const copyOf = (permissions) => (permissions ?? []).filter(Boolean).map(({ verbs, resources }) => ({
  verbs: new Set((verbs ?? []).includes('*') ? VERBS : verbs ?? []),
  resources: (resources ?? []).filter(Boolean).map(({ type, labels }) => ({ type, labels: { ...labels } })),
}));

const hasAll = (verbs) => VERBS.every((verb) => verbs.has(verb));

const written = (permissions) => permissions.map(({ verbs, resources }) => ({
  verbs: hasAll(verbs) ? ['*'] : [...verbs],
  resources: resources.map(({ type, labels }) => {
    const entries = Object.entries(labels).filter(([, value]) => value !== '');
    return entries.length ? { type, labels: Object.fromEntries(entries) } : { type };
  }),
}));

const verbWord = (verb) => tr(`access.verb.${verb}`, visible(verb));
const typeWord = (type) => tr(`access.type.${type}`, visible(type));

function permissionEditor(permission, index, redraw, drop) {
  const { verbs, resources } = permission;
  const types = (type) => [...new Set([...TYPES, type])];
  return html`<fieldset class="permission"><legend>${t('access.permission', { count: index + 1 })}</legend>
    <div class="options" role="group" aria-label=${t('access.may')}><label><input type="checkbox" ?autofocus=${index === 0} .checked=${live(hasAll(verbs))} .indeterminate=${verbs.size > 0 && !hasAll(verbs)}
        @change=${(event) => { verbs.clear(); if (event.target.checked) VERBS.forEach((verb) => verbs.add(verb)); redraw(); }}> ${verbWord('*')}</label>
      ${VERBS.map((verb) => html`<label><input type="checkbox" .checked=${live(verbs.has(verb))} @change=${(event) => { if (event.target.checked) verbs.add(verb); else verbs.delete(verb); redraw(); }}> ${verbWord(verb)}</label>`)}
      <button type="button" class="quiet" @click=${drop}>${t('access.dropPermission')}</button></div>
    ${resources.map((resource, at) => html`<div class="resource">
      <label class="field"><span>${t('access.on')}</span><select .value=${live(resource.type)} @change=${(event) => { resource.type = event.target.value; if (!LABELED.includes(resource.type)) resource.labels = {}; redraw(); }}>
        ${types(resource.type).map((type) => html`<option value=${type} ?selected=${type === resource.type}>${typeWord(type)}</option>`)}</select></label>
      ${LABELED.includes(resource.type) || Object.keys(resource.labels).length ? [...new Set([...LABELS, ...Object.keys(resource.labels)])].map((label) => html`<label class="field"><span>${tr(`access.label.${label}`, visible(label))}</span>
        <input type="text" autocomplete="off" spellcheck="false" maxlength="160" placeholder=${t('common.all')} .value=${live(resource.labels[label] ?? '')} @input=${(event) => { resource.labels[label] = event.target.value.trim(); }}></label>`) : nothing}
      ${resources.length > 1 ? html`<button type="button" class="icon-button" aria-label=${t('access.dropType', { type: typeWord(resource.type) })} @click=${() => { resources.splice(at, 1); redraw(); }}>×</button>` : nothing}</div>`)}
    <button type="button" class="quiet" @click=${() => { resources.push({ type: TYPES.find((type) => !resources.some((one) => one.type === type)) ?? TYPES[0], labels: {} }); redraw(); }}>+ ${t('access.addType')}</button></fieldset>`;
}

const fresh = () => ({ verbs: new Set(), resources: [{ type: 'service', labels: {} }] });

async function editRole(ctx, role) {
  const permissions = role ? copyOf(role.perms) : [fresh()];
  const done = await dialog({
    title: role ? t('access.editRole', { name: visible(role.name) }) : t('access.createRole'),
    wide: true,
    view: ({ close, redraw, busy, run }) => {
      const perms = written(permissions);
      const isLockOut = role && wouldLockOut(ctx.session.user(), { name: role.name, perms }, ctx.data);
      const isOff = isLockOut || permissions.some(({ verbs, resources }) => !verbs.size || !resources.length);
      return html`<form method="dialog" @submit=${(event) => {
        event.preventDefault();
        if (isOff) return;
        const body = { name: role?.name ?? new FormData(event.target).get('name'), perms: written(permissions) };
        run(async () => {
          await (role ? ctx.api.sendRoot('PUT', `v4/roles/${segment(role.name)}`, body) : ctx.api.sendRoot('POST', 'v4/roles', body));
          return body;
        });
      }}><div class="dialog-body">
        ${role ? html`<p>${t('access.roleAtOnce')}</p>` : html`<label class="field stacked"><span>${t('access.name')}</span><input type="text" name="name" required maxlength="64" pattern=${NAME} title=${t('access.nameHint')} autocomplete="off" spellcheck="false" autofocus></label>`}
        ${permissions.map((permission, index) => permissionEditor(permission, index, redraw, () => { permissions.splice(index, 1); redraw(); }))}
        ${permissions.length ? nothing : html`<p class="muted">${t('access.noPermissions')}</p>`}
        <button type="button" @click=${() => { permissions.push(fresh()); redraw(); }}>+ ${t('access.addPermission')}</button></div>
        ${problem(isLockOut && t('access.lockOut'))}${foot(close, busy, t(role ? 'access.save' : 'access.create'), isOff)}</form>`;
    },
  });
  if (done) { toast(t('access.saved', { name: visible(done.name) })); ctx.reload(); }
}

// The lists

const matching = (ctx, items) => {
  const text = (ctx.route.query.get('search') ?? '').toLowerCase();
  return text ? items.filter((item) => (item.name ?? item.key).toLowerCase().includes(text)) : items;
};

function cut(ctx, items, rows) {
  const found = matching(ctx, items);
  const searching = items.length > 10 || ctx.route.query.get('search') ? toolbar(search(ctx, { key: 'search', label: t('access.search') })) : nothing;
  return html`${searching}${rows(found.slice(0, MOST_ROWS))}${found.length > MOST_ROWS ? html`<p class="muted">${t('access.first', { shown: MOST_ROWS, total: found.length })}</p>` : nothing}`;
}

const rolesText = (names = []) => names.map((role, index) => html`${index ? ', ' : nothing}${name(role)}`);

function accounts(ctx) {
  const { session, data } = ctx;
  const user = session.user();
  const isAdmin = data.accounts.find((account) => account.name === user)?.roles?.includes(ADMIN);
  const may = (verb) => session.writable() && session.can(verb, 'account');
  const actions = (account) => {
    const isOwn = account.name === user;
    const kept = isOwn ? t('access.ownAccount') : account.name === ROOT ? t('access.rootAccount') : undefined;
    return html`${session.writable() && (isOwn || isAdmin) ? html`<button type="button" class="quiet" aria-label=${t('access.passwordOf', { name: visible(account.name) })} @click=${() => changePassword(ctx, account.name)}>${t('login.password')}</button>` : nothing}
      ${kept ? html`<span class="muted small">${kept}</span>` : html`
      ${may('update') ? html`<button type="button" class="quiet" aria-label=${t('access.editAccount', { name: visible(account.name) })} @click=${() => editAccount(ctx, account)}>${t('access.edit')}</button>` : nothing}
      ${may('delete') ? html`<button type="button" class="quiet" aria-label=${t('access.delete.account', { name: visible(account.name) })} @click=${() => remove(ctx, 'account', account)}>${t('access.delete')}</button>` : nothing}`}`;
  };
  return cut(ctx, data.accounts, (rows) => table({
    caption: t('access.accounts'),
    rows,
    keyOf: (account) => account.name,
    empty: t('access.noneFound'),
    columns: [
      { key: 'name', label: t('access.account'), rowHeader: true, cell: (account) => html`${name(account.name)}${account.name === user ? html` <span class="badge">${t('access.you')}</span>` : nothing}` },
      { key: 'roles', label: t('access.roles'), cell: (account) => rolesText(account.roles) },
      { key: 'status', label: t('access.status'), cell: ({ status }) => (status === 'inactive' ? judged('bad', t('access.inactive')) : judged('good', t('access.active'))) },
      { key: 'created', label: t('access.createdAt'), cell: ({ createTime }) => time(createTime) },
      { key: 'updated', label: t('access.updatedAt'), cell: ({ updateTime }) => time(updateTime) },
    ],
    actions: session.writable() ? actions : undefined,
  }));
}

/** What a role allows, one permission a line. */
const permissionLines = ({ name: role, perms }) => (role === ADMIN ? t('access.everything') : (perms ?? []).filter(Boolean).map(({ verbs = [], resources = [] }) => html`<div>
  <strong>${verbs.includes('*') ? t('access.verb.*') : list(verbs.map(verbWord))}</strong>: ${resources.filter(Boolean).map(({ type, labels }, index) => html`${index ? ', ' : nothing}${typeWord(type)}${Object.keys(labels ?? {}).length
  ? html` <span class="muted">(${Object.entries(labels).map(([key, value], at) => html`${at ? ', ' : nothing}${tr(`access.label.${key}`, visible(key))} ${mono(value)}`)})</span>` : nothing}`)}</div>`));

function roles(ctx) {
  const { session, data } = ctx;
  const may = (verb) => session.writable() && session.can(verb, 'role');
  const users = (role) => data.accounts.filter((account) => account.roles?.includes(role));
  return cut(ctx, data.roles, (rows) => table({
    caption: t('access.roles'),
    rows,
    keyOf: (role) => role.name,
    empty: t('access.noneFound'),
    columns: [
      { key: 'name', label: t('access.role'), rowHeader: true, cell: (role) => html`${name(role.name)}${BUILT_IN.includes(role.name) ? html` <span class="badge">${t('access.builtIn')}</span>` : nothing}` },
      { key: 'permissions', label: t('access.permissions'), cell: permissionLines },
      { key: 'accounts', label: t('access.accounts'), numeric: true, hidden: !data.accounts.length, cell: (role) => users(role.name).length },
      { key: 'updated', label: t('access.updatedAt'), cell: ({ updateTime }) => time(updateTime) },
    ],
    actions: session.writable() ? (role) => (BUILT_IN.includes(role.name) ? nothing : html`
      ${may('update') ? html`<button type="button" class="quiet" aria-label=${t('access.editRole', { name: visible(role.name) })} @click=${() => editRole(ctx, role)}>${t('access.edit')}</button>` : nothing}
      ${may('delete') ? (users(role.name).length ? html`<span class="muted small">${t('access.inUse')}</span>` : html`<button type="button" class="quiet" aria-label=${t('access.delete.role', { name: visible(role.name) })} @click=${() => remove(ctx, 'role', role)}>${t('access.delete')}</button>`) : nothing}`) : undefined,
  }));
}

const locks = (ctx) => html`<p class="muted lead">${t('access.locksText')}</p>${cut(ctx, ctx.data.locks, (rows) => table({
  caption: t('access.locks'),
  rows,
  keyOf: (lock) => lock.key,
  empty: emptyState(t('access.noLocks')),
  columns: [
    { key: 'account', label: t('access.account'), rowHeader: true, cell: ({ key }) => name(key.split('::')[0]) },
    { key: 'address', label: t('access.address'), cell: ({ key }) => mono(addressOf(key)) },
    { key: 'status', label: t('access.status'), cell: ({ status }) => (status === 'banned' ? judged('bad', t('access.banned')) : judged('warn', t('access.attempted'))) },
    { key: 'until', label: t('access.until'), cell: ({ releaseAt }) => time(releaseAt) },
  ],
}))}`;

/** A lock has the key `<account>::<address>`. An account has no colon, but an IPv6 address may have two. */
const addressOf = (key) => (key.includes('::') ? key.slice(key.indexOf('::') + 2) : '');

export const page = {
  name: 'access',
  title: (route) => (route.params[0] ? `${t('nav.access')}: ${t(`access.${tabOf(route)}`)}` : t('nav.access')),
  kinds: [],
  async load(ctx) {
    const { api, session, signal } = ctx;
    if (!session.accounts) return { isOff: true };
    const all = async (path, type) => (session.can('get', type) ? (await api.root(path, {}, signal))?.data ?? [] : []);
    const [allAccounts, allRoles, allLocks] = await Promise.all([all('v4/accounts', 'account'), all('v4/roles', 'role'), all('v4/account-locks', 'account')]);
    return { accounts: allAccounts, roles: allRoles, locks: allLocks };
  },
  view(ctx) {
    const { data, session, route } = ctx;
    const tab = tabOf(route);
    if (!data) return html`${head(t('nav.access'))}${skeleton()}`;
    if (data.isOff) return html`${head(t('nav.access'))}${emptyState(t('access.off'), t('access.offText'))}`;
    const user = session.user();
    const own = html`<button type="button" @click=${() => changePassword(ctx, user)}>${t('access.ownPassword')}</button>`;
    if (!session.can('get', 'account')) {
      return html`${head(t('nav.access'), { sub: t('access.onlyOwn') })}${panel(visible(user), html`<div class="pad">${session.writable() ? own : t('common.readOnly')}</div>`)}`;
    }
    const create = session.writable() && { accounts: ['account', () => createAccount(ctx), 'access.createAccount'], roles: ['role', () => editRole(ctx), 'access.createRole'] }[tab];
    const why = session.whyReadOnly('update', tab === 'roles' ? 'role' : 'account');
    return html`${head(t('nav.access'), {
      sub: why ? t(why) : nothing,
      actions: create && session.can('create', create[0]) ? html`<button type="button" class="primary" @click=${create[1]}>${t(create[2])}</button>` : nothing,
    })}
    ${tabs([
    { id: 'accounts', href: link('access', 'accounts'), label: t('access.accounts'), count: data.accounts.length },
    ...(session.can('get', 'role') ? [{ id: 'roles', href: link('access', 'roles'), label: t('access.roles'), count: data.roles.length }] : []),
    { id: 'locks', href: link('access', 'locks'), label: t('access.locks'), count: data.locks.length },
  ], tab, t('nav.access'))}
    ${{ accounts, roles, locks }[tab](ctx)}`;
  },
};
