// Who uses the console, and what they may do. The token is only in sessionStorage and in the header of requests.

import { now } from './i18n.js';
import { current, go, link } from './router.js';

const { accounts, writable, version, node } = document.documentElement.dataset;
const KEY = 'token';
/** setTimeout takes no more. */
const LONGEST = 2 ** 31 - 1;

let held = read();
let permissions;
let timer;

function read() {
  try { return sessionStorage.getItem(KEY) ?? ''; } catch { return ''; }
}

/** What a token says about its holder. The daemon checks the token; here it only names the account. */
function claims() {
  try {
    const part = held.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const raw = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(raw));
  } catch { return {}; }
}

function watchExpiry() {
  clearTimeout(timer);
  const { exp } = claims();
  if (!held || !exp) return;
  const left = exp * 1000 - now();
  timer = setTimeout(() => (left > LONGEST ? watchExpiry() : tokenRefused()), Math.max(0, Math.min(left, LONGEST)));
}

export const token = () => held;

/** A daemon refused the token, or its time is over: to the login, and back to the same view afterwards. */
export function tokenRefused() {
  const { page, hash } = current();
  forget();
  if (page !== 'login') go(link('login', { back: hash, over: 'yes' }), { replace: true });
}

function forget() {
  held = '';
  permissions = undefined;
  clearTimeout(timer);
  try { sessionStorage.removeItem(KEY); } catch { /* it was only in memory */ }
  session.onChange();
}

export const session = {
  /** Whether the daemon asks for accounts. */
  accounts: accounts === 'on',
  version,
  node,
  /** Told when somebody logs in or out. The app sets it. */
  onChange() {},
  user: () => { const said = claims(); return String(said.account ?? said.name ?? said.sub ?? ''); },
  needsLogin() { return this.accounts && !held; },
  logIn(fresh) {
    held = fresh;
    permissions = undefined;
    try { sessionStorage.setItem(KEY, fresh); } catch { /* it lasts as long as the page */ }
    watchExpiry();
    this.onChange();
  },
  logOut() {
    forget();
    go(link('login'));
  },
  /** Asks for the permissions. Without an answer, no buttons are shown; requests still tell. */
  async load(api) {
    if (!this.accounts || !held || permissions) return;
    permissions = (await api.root('v4/self-perms')).perms ?? [];
    // Now the clock of the server is known; that of the browser may be wrong.
    watchExpiry();
    this.onChange();
  },
  /** Whether the console may change anything at all. */
  writable: () => writable === 'yes',
  /** Whether the roles allow `get`, `create`, `update` or `delete` on a type of resources: `service`, `service/schema`, `ops`,
   * `account`, `role`. With the labels of one service: on this service. Without: on at least one. */
  can(verb, type, labels) {
    if (!this.accounts) return true;
    // Until the permissions are known, nothing that changes is offered, and nothing that shows is hidden.
    if (!permissions) return verb === 'get';
    return (permissions ?? []).some((permission) => {
      if (!permission || !(permission.verbs ?? []).some((has) => has === '*' || has === verb)) return false;
      return (permission.resources ?? []).some((resource) => resource?.type === type
        && (!labels || Object.entries(resource.labels ?? {}).every(([key, value]) => (labels[key] ?? '') === value)));
    });
  },
  /** Why there are no buttons: a key of the languages, or undefined if there are. */
  whyReadOnly(verb, type, labels) {
    if (!this.writable()) return 'common.readOnly';
    return this.can(verb, type, labels) ? undefined : 'common.noPermission';
  },
};
