// One stream of events for the whole console: `admin/events` as server-sent events, read with fetch so that the token travels in a
// header. Where the account may not read events, or a proxy holds the stream back, the console asks again every 10 seconds.

import { api, isAway } from './api.js';
import { now } from './i18n.js';
import { session } from './session.js';

/** At most one notice a second. */
const QUIET = 1000;
const POLL = 10_000;
/** The daemon sends a comment every 15 s. */
const SILENCE = 40_000;
/** How long pages wait for the stream before they load. Then they load once; otherwise again when the stream is open. */
const HEAD_START = 300;
/** How long the first event may take. It comes at once, unless a proxy keeps it. */
const OPENING = 10_000;
const POLL_LOST = 3000;
const RETRY_STREAM = 60_000;
const LONGEST_BACKOFF = 10_000;
/** Events that wait for a notice. If more come, the pages load anew. */
const MOST_WAITING = 500;
const LONGEST_LINE = 1_000_000;

const listeners = new Set();
let waiting = [];
let gap = false;
let flushTimer;
let flushed = 0;

let controller;
let timer;
let failures = 0;
let isPolling = false;
let lastId = '';
let started = false;
/** Ends when pages may load. */
let opening = Promise.resolve();
let goOn = () => {};
/** Whether pages may have loaded before the first stream was open. Then they may lack what happened until it was. */
let isLate = false;
let heardAt = now();

function change(state) {
  if (live.state === state) return;
  live.state = state;
  goOn();
  if (state === 'lost') live.since = heardAt;
  live.onChange();
}

function tell() {
  if (flushTimer || document.hidden) return;
  flushTimer = setTimeout(() => {
    flushTimer = undefined;
    flushed = performance.now();
    const batch = { events: waiting, gap };
    waiting = [];
    gap = false;
    for (const listener of [...listeners]) listener(batch);
  }, Math.max(0, flushed + QUIET - performance.now()));
}

function later(what, delay) {
  clearTimeout(timer);
  timer = setTimeout(what, delay);
}

/** Reads the lines of server-sent events, as the HTML standard says. */
async function* eventsOf(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { kind: '', data: '', id: undefined };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    rest += value;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    if (rest.length > LONGEST_LINE) throw new RangeError('the stream has a line that is too long');
    for (const line of lines) {
      if (line === '') {
        if (event.data || event.kind) yield event;
        event = { kind: '', data: '', id: undefined };
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event.kind = text;
      else if (field === 'data') event.data += event.data ? `\n${text}` : text;
      else if (field === 'id') event.id = text;
    }
  }
}

async function follow() {
  clearTimeout(timer);
  controller?.abort();
  isPolling = !session.can('get', 'ops');
  if (isPolling) { poll(); return; }
  const own = controller = new AbortController();
  let watchdog;
  let opened = false;
  let silent = false;
  const expect = (delay) => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { silent = true; own.abort(); }, delay);
  };
  try {
    expect(OPENING);
    const headers = { accept: 'text/event-stream' };
    if (lastId) headers['last-event-id'] = lastId;
    const answer = await api.open('admin/events', {}, headers, own.signal);
    // A page of a proxy, for example.
    if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) { poll(); return; }
    for await (const event of eventsOf(answer.body, () => { heardAt = now(); if (opened) expect(SILENCE); })) {
      if (own.signal.aborted) return;
      const data = JSON.parse(event.data || '{}');
      if (event.kind === 'end') break;
      if (event.kind === 'record') {
        opened = true;
        failures = 0;
        expect(SILENCE);
        Object.assign(live, { node: data.node, completeSince: data.completeSince });
        // What happened before the first event is in no stream.
        const missed = lastId ? !data.resumed : isLate;
        change('live');
        if (missed) gap = true;
        // What came before a tab was hidden for long waits still.
        if (gap || waiting.length) tell();
      } else {
        if (event.kind === 'record.gap') gap = true;
        waiting.push(data);
        if (waiting.length > MOST_WAITING) { waiting.shift(); gap = true; }
        tell();
      }
      if (event.id) lastId = event.id;
    }
    // The daemon ended the stream.
    if (controller === own) again(opened);
  } catch (error) {
    if (controller !== own || (own.signal.aborted && !silent)) return;
    if (silent && !opened) poll();
    else if (error.status && error.status !== 401 && !isAway(error)) poll();
    else if (error.status !== 401) again(opened);
  } finally {
    clearTimeout(watchdog);
    own.abort();
  }
}

/** A stream that ended is opened again at once. What fails then counts as lost. */
function again(wasOpen) {
  if (!wasOpen) change('lost');
  const backoff = wasOpen ? 200 : Math.min(LONGEST_BACKOFF, 1000 * 2 ** failures);
  failures += 1;
  later(follow, backoff * (0.75 + Math.random() / 2));
}

/** Asks every 10 seconds, and tries a stream every minute. The loads of the pages tell whether the daemon answers. */
function poll() {
  const retry = performance.now() + RETRY_STREAM;
  isPolling = true;
  if (live.state !== 'lost') change('polling');
  const tick = () => {
    if (performance.now() > retry) { follow(); return; }
    gap = true;
    tell();
    later(tick, live.state === 'lost' ? POLL_LOST : POLL);
  };
  later(tick, live.state === 'lost' ? POLL_LOST : POLL);
}

function stop(state) {
  clearTimeout(timer);
  clearTimeout(flushTimer);
  flushTimer = undefined;
  controller?.abort();
  controller = undefined;
  change(state);
}

export const live = {
  /** `idle`, `connecting`, `live`, `polling`, `lost` or `paused`. */
  state: 'idle',
  /** When the daemon was last heard, if the connection is lost. */
  since: undefined,
  /** The address of the node that sends the events. */
  node: undefined,
  completeSince: undefined,
  /** Told when the state changes. The app sets it. */
  onChange() {},
  /** Whether what the pages show may be old. */
  get stale() { return this.state === 'lost' || this.state === 'paused'; },
  /** Calls `listener({events, gap})` at most once a second. `gap`: events are missing, so load anew. Gives the function that ends it. */
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  /** Gives a promise that ends when pages may load. */
  start() {
    if (started) return opening;
    started = true;
    isLate = document.hidden;
    if (isLate) return opening;
    change('connecting');
    opening = new Promise((resolve) => { goOn = resolve; });
    opening.then(() => { isLate = true; });
    setTimeout(goOn, HEAD_START);
    follow();
    return opening;
  },
  stop() {
    started = false;
    lastId = '';
    waiting = [];
    stop('idle');
  },
  /** A load of a page was answered. */
  answered() {
    heardAt = now();
    if (this.state !== 'lost') return;
    if (isPolling) change('polling');
    else this.retry();
  },
  /** A load of a page found no daemon. */
  missed() {
    if (this.state === 'polling') { change('lost'); poll(); }
  },
  retry() {
    failures = 0;
    follow();
  },
};

let hiding;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiding);
  if (!started) return;
  if (document.hidden) {
    // A short look at another tab does not end the stream; what comes meanwhile waits.
    hiding = setTimeout(() => stop('paused'), 5000);
  } else if (live.state === 'paused' || live.state === 'idle') {
    failures = 0;
    if (live.state === 'idle') change('connecting');
    follow();
  } else if (waiting.length || gap) {
    tell();
  }
});
addEventListener('online', () => { if (started && live.state === 'lost') live.retry(); });
addEventListener('pagehide', () => { if (started) stop('paused'); });
addEventListener('pageshow', (event) => { if (event.persisted && started) follow(); });
