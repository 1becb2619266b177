// Takes an instance out of service, and shows which consumers have learned of it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { PROJECT, exchange, isAbort, segment } from '../../api.js';
import { duration, t } from '../../i18n.js';
import { dialog } from '../../ui/dialog.js';
import { failure, notice, progress } from '../../ui/page.js';
import { judged, statusWord } from '../../ui/status.js';
import { table } from '../../ui/table.js';
import { mono, name, visible } from '../../ui/text.js';
import { ago, when } from '../../ui/time.js';
import { toast } from '../../ui/toast.js';
import { partnerName } from './consumers.js';
import { putStatus } from './set_status.js';

const WAITS = [10, 30, 60, 300];
/** How much longer than the drain itself its answer may take. */
const GRACE = 20;
const MOST_RECEIPTS = 5;

const receiptLine = ({ row, receipt, at }) => html`<span>${name(row.hostName)}: ${outcome(receipt)} <span class="muted">${when(at)}</span></span>`;

function outcome({ seen = 0, of = 0, complete, silent = [], uncounted = [] }) {
  if (of === 0) return judged(silent.length || uncounted.length ? 'warn' : 'good', t('drain.nobody'));
  if (complete) return judged('good', t('drain.complete', { count: of, seen, of }));
  if (seen === of) return judged('warn', t('drain.uncertain', { seen, of }));
  return judged('warn', t('drain.incomplete', { seen, of }));
}

/** The receipts of drains from this page, newest first. */
export function receipts(ctx) {
  const all = ctx.state.receipts ?? [];
  return all.map((one) => notice(one.receipt.complete ? 'info' : 'warn', receiptLine(one), html`<button type="button" @click=${() => drain(ctx, one.row, one)}>${t('service.showReceipt')}</button>
      <button type="button" class="icon-button" aria-label=${t('common.dismiss')} @click=${() => { ctx.state.receipts = all.filter((other) => other !== one); ctx.redraw(); }}>×</button>`));
}

/** `done`: a drain from before, of which only the receipt is shown. */
export async function drain(ctx, row, done) {
  let state = done ? 'done' : 'ask';
  let wait = 30;
  let receipt = done?.receipt;
  let began;
  let failed;
  let told;
  let canceled;
  let tick;
  /** What "put back" means: the status before the drain. */
  const before = row.status && row.status !== 'OUTOFSERVICE' ? row.status : 'UP';

  async function start(redraw) {
    state = 'waits';
    began = Date.now();
    failed = undefined;
    canceled = new AbortController();
    tick = setInterval(() => { redraw(); }, 500);
    const follow = followTold(ctx, row, canceled.signal, (newer) => { told = newer; });
    try {
      const answer = await exchange('POST', `v4/${PROJECT}/registry/microservices/${segment(row.serviceId)}/instances/${segment(row.instanceId)}/drain`, { query: { wait: `${wait}s` }, patience: (wait + GRACE) * 1000, signal: canceled.signal });
      receipt = await answer.json();
      state = 'done';
      ctx.state.receipts = [{ row, receipt, at: new Date().toISOString() }, ...(ctx.state.receipts ?? []).filter((one) => one.row.instanceId !== row.instanceId)].slice(0, MOST_RECEIPTS);
    } catch (error) {
      if (isAbort(error)) return;
      failed = error;
      state = 'ask';
    } finally {
      clearInterval(tick);
      clearTimeout(follow.timer);
      follow.ended = true;
      ctx.reload();
    }
    redraw();
  }

  const ask = ({ close, redraw }) => html`<form method="dialog" @submit=${(event) => { event.preventDefault(); start(redraw); redraw(); }}>
    <div class="dialog-body"><p>${name(row.hostName)} <span class="muted">${mono(row.instanceId)}</span></p><p>${t('drain.text')}</p>
    <label class="field stacked"><span>${t('drain.wait')}</span><select @change=${(event) => { wait = Number(event.target.value); }}>${WAITS.map((seconds) => html`<option value=${seconds} ?selected=${seconds === wait}>${duration(seconds)}</option>`)}</select></label></div>
    ${failed ? failure(failed) : nothing}
    <div class="dialog-actions"><button type="button" @click=${() => close()}>${t('common.cancel')}</button>
    <button type="submit" class="primary" autofocus>${t('drain.start')}</button></div></form>`;

  const waits = ({ close }) => {
    const passed = Math.min(wait, (Date.now() - began) / 1000);
    return html`<div class="dialog-body" role="status"><p>${name(row.hostName)}: ${t('drain.waiting')}</p>
      <p class="figures">${progress(passed, wait * 1.12)}<span class="muted" aria-hidden="true">${t('drain.passed', { passed: duration(Math.floor(passed)), wait: duration(wait) })}</span></p>
      <p>${told?.consumers ? t('drain.told', { sent: told.sent ?? 0, of: told.consumers }) : nothing}</p></div>
      <div class="dialog-actions"><span class="muted small">${t('drain.leave')}</span><button type="button" @click=${() => { canceled.abort(); clearInterval(tick); close(); toast(t('drain.left', { name: visible(row.hostName) }), { kind: 'info' }); }}>${t('drain.stopWaiting')}</button></div>`;
  };

  const shown = ({ close, run, busy }) => html`<div class="dialog-body">
      <p>${name(row.hostName)} <span class="muted">${mono(row.instanceId)}</span></p>
      <p class="strong">${outcome(receipt)}</p>
      ${receipt.of ? html`<p class="figures">${progress(receipt.seen ?? 0, receipt.of)}<span>${t('drain.seen', { seen: receipt.seen ?? 0, of: receipt.of })}</span></p>` : html`<p class="muted">${t('drain.nobodyText')}</p>`}
      ${receipt.missing?.length ? html`<h3>${t('drain.missing')}</h3><p class="muted">${t('drain.missingText')}</p>${missing(receipt.missing)}` : nothing}
      ${receipt.silent?.length ? notice('warn', html`<p>${t('drain.silent')}</p><p>${receipt.silent.map((one) => html`${mono(one)} `)}</p>`) : nothing}
      ${receipt.uncounted?.length ? notice('warn', html`<p>${t('drain.uncounted')}</p><p>${receipt.uncounted.map((one) => html`${mono(one)} `)}</p>`) : nothing}
      <p class="muted small">${t('drain.revision', { revision: String(receipt.revision ?? '') })}</p></div>
    <div class="dialog-actions"><button type="button" ?disabled=${busy} @click=${() => run(async () => { await putStatus(ctx, row, before); return 'back'; })}>${before === 'UP' ? t('drain.putBack') : t('drain.putBackTo', { status: statusWord(before) })}</button>
    <button type="button" class="primary" autofocus ?disabled=${busy} @click=${() => close()}>${t('common.close')}</button></div>`;

  const result = await dialog({
    title: t(done ? 'drain.receipt' : 'drain.title'),
    wide: true,
    view: (box) => ({ ask, waits, done: shown })[state](box),
  });
  // Escape while it waits: the request ends, the instance stays out of service.
  canceled?.abort();
  clearInterval(tick);
  if (result === 'back') {
    toast(before === 'UP' ? t('drain.isBack', { name: visible(row.hostName) }) : t('service.statusSet', { name: visible(row.hostName), status: statusWord(before) }));
    ctx.state.receipts = (ctx.state.receipts ?? []).filter((one) => one.row.instanceId !== row.instanceId);
  }
  ctx.reload();
}

const missing = (rows) => table({
  caption: t('drain.missing'),
  rows: rows.map((one, place) => ({ ...one, place })),
  keyOf: ({ place }) => place,
  columns: [
    { key: 'consumer', label: t('service.consumer'), rowHeader: true, cell: ({ consumer = {} }) => html`<span>${partnerName({ ...consumer, tenant: consumer.tenant === `default/${PROJECT}` ? '' : consumer.tenant })} <span class="muted">${mono(consumer.version ?? '')}</span></span>` },
    { key: 'client', label: t('service.client'), cell: ({ client }) => mono(client ?? '') },
    { key: 'node', label: t('nodes.node'), cell: ({ node }) => mono(node ?? '') },
    { key: 'last', label: t('drain.last'), cell: ({ last }) => (last ? ago(last) : html`<span class="muted">${t('service.never')}</span>`) },
  ],
});

/** While the drain waits, the record of this node says how many watches were told. */
function followTold({ api, session }, { serviceId, instanceId }, signal, tell) {
  const own = { ended: !session.can('get', 'ops'), timer: undefined };
  const next = async () => {
    if (own.ended || signal.aborted) return;
    try {
      const { items } = await api.get('admin/events', { serviceId, instanceId, limit: 1, order: 'desc' }, signal);
      const newest = items?.[0];
      if (newest?.kind === 'instance.changed' && newest.instance?.status === 'OUTOFSERVICE') tell(newest.told);
    } catch { return; }
    own.timer = setTimeout(next, 1000);
  };
  own.timer = setTimeout(next, 300);
  return own;
}
