// Requests to the daemon. Addresses are relative to the page, so that the console works behind any path of a proxy.

import { serverTime, t } from './i18n.js';
import { token, tokenRefused } from './session.js';

/** The project of all pages. */
export const PROJECT = 'default';

const ROOT = new URL('../', document.baseURI);
const PATIENCE = 30_000;
/** The current password is wrong, in a request to change it. The token is good. */
const WRONG_PASSWORD = '401207';

/** A request that failed. `status` is 0 if no answer came. */
export class ApiError extends Error {
  constructor({ status = 0, code = '', message = '', detail = '', requestId = '' }) {
    super(detail && !message.includes(detail) ? `${message}: ${detail}` : message);
    Object.assign(this, { name: 'ApiError', status, code, detail, requestId, short: message });
  }
}

/** Whether no daemon answered: nobody did, or a proxy in its place. The daemon's own errors have a code. */
export const isAway = (error) => error?.status === 0 || (error?.status >= 502 && !error.code);

/** Whether an error only says that the page was left, or that a newer load began. */
export const isAbort = (error) => error?.name === 'AbortError';

function address(path, query) {
  const url = new URL(path, ROOT);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.append(key, value);
  }
  return url;
}

/** Sends a request, and gives the answer if its status is good. */
export async function exchange(method, path, { query, body, headers = {}, signal, patience = PATIENCE, anonymous = false } = {}) {
  const sent = { accept: 'application/json', ...headers };
  const bearer = anonymous ? '' : token();
  if (bearer) sent.authorization = `Bearer ${bearer}`;
  if (body !== undefined) sent['content-type'] = 'application/json; charset=utf-8';
  const timeout = patience ? AbortSignal.timeout(patience) : undefined;
  const signals = [signal, timeout].filter(Boolean);
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signals.length ? AbortSignal.any(signals) : undefined,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ message: t(error.name === 'TimeoutError' ? 'error.slow' : 'error.unreachable') });
  }
  serverTime(answer.headers.get('date'));
  if (answer.ok) return answer;
  const failure = await failed(answer);
  if (failure.status === 401 && failure.code !== WRONG_PASSWORD && !anonymous) tokenRefused();
  throw failure;
}

async function failed(answer) {
  let said = {};
  try { said = JSON.parse((await answer.text()).slice(0, 100_000)); } catch { /* an answer of a proxy */ }
  return new ApiError({
    status: answer.status,
    code: String(said.errorCode ?? ''),
    message: String(said.errorMessage ?? t('error.status', { status: String(answer.status) })),
    detail: String(said.detail ?? ''),
    requestId: answer.headers.get('x-request-id') ?? '',
  });
}

async function content(answer, signal) {
  try {
    const text = await answer.text();
    const isJson = (answer.headers.get('content-type') ?? '').includes('json');
    return isJson && text ? JSON.parse(text) : text || undefined;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ message: t('error.unreachable') });
  }
}

const json = async (method, path, options) => content(await exchange(method, path, options), options?.signal);
const inProject = (path) => `v4/${PROJECT}/${path}`;

export const api = {
  /** `api.get('govern/services', {limit: 50}, ctx.signal)`: below `v4/<project>/`. Empty parameters are left out. */
  get: (path, query, signal) => json('GET', inProject(path), { query, signal }),
  /** `api.root('v4/accounts', {}, ctx.signal)`: from the root of the daemon. */
  root: (path, query, signal) => json('GET', path, { query, signal }),
  /** `api.send('PUT', 'registry/…/status', undefined, {value: 'UP'})`. */
  send: (method, path, body, query) => json(method, inProject(path), { body, query }),
  sendRoot: (method, path, body, query) => json(method, path, { body, query }),
  /** The answer itself, for streams and headers. The caller ends it by the signal. */
  open: (path, query, headers, signal) => exchange('GET', inProject(path), { query, headers, signal, patience: 0 }),
  /** A token for a name and a password. */
  logIn: async (name, password) => (await json('POST', 'v4/token', { body: { name, password }, anonymous: true })).token,
};

/** A segment of a path. */
export const segment = encodeURIComponent;
