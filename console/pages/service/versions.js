// The versions of a service. A version without instances can be deleted.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { segment } from '../../api.js';
import { t } from '../../i18n.js';
import { current, go, link } from '../../router.js';
import { copyButton } from '../../ui/copy.js';
import { dialog } from '../../ui/dialog.js';
import { notice } from '../../ui/page.js';
import { counts } from '../../ui/status.js';
import { table } from '../../ui/table.js';
import { mono, shortId, visible } from '../../ui/text.js';
import { ago } from '../../ui/time.js';
import { toast } from '../../ui/toast.js';

/** A list so long is no help, and the server gives versions whole. */
const MOST = 200;

export const kinds = ['instance', 'service'];

export function view(ctx, own, service) {
  const { session } = ctx;
  const why = session.whyReadOnly('delete', 'service', service.labels);
  const rows = [...service.versions].reverse();
  const known = rows.some(({ instances, registered }) => instances || registered);
  const numbers = (row) => row.instances ?? (row.serviceId === service.id ? service.instances : known ? {} : undefined);
  return html`${table({
    caption: t('service.tab.versions'),
    rows: rows.slice(0, MOST),
    keyOf: ({ serviceId }) => serviceId,
    current: service.id,
    columns: [
      { key: 'version', label: t('service.version'), rowHeader: true, cell: ({ serviceId, version }) => html`<span class="nowrap"><a href=${link('service', serviceId)}>${mono(version)}</a>${serviceId === service.id ? html` <span class="badge">${t('service.thisOne')}</span>` : nothing}</span>` },
      { key: 'instances', label: t('services.instances'), cell: (row) => { const found = numbers(row); return found ? counts(found, { empty: t('services.noInstances'), href: (status) => link('service', row.serviceId, { status }) }) : html`<a href=${link('service', row.serviceId)}>${t('service.look')}</a>`; } },
      { key: 'registered', label: t('service.registered'), cell: ({ registered }) => ago(registered) },
      { key: 'contracts', label: t('service.tab.contracts'), cell: ({ serviceId }) => html`<span class="inline"><a href=${link('service', serviceId, 'contracts')}>${t('service.show')}</a>${serviceId === service.id ? nothing : html` <a href=${link('service', service.id, 'contracts', { show: 'compare', with: serviceId })}>${t('service.compareWithThis')}</a>`}</span>` },
      { key: 'id', label: t('service.id'), cell: ({ serviceId }) => html`<span class="nowrap">${shortId(serviceId, 12)}${copyButton(serviceId, t('service.copyId'))}</span>` },
    ],
    actions: why ? undefined : (row) => {
      const found = numbers(row);
      const isEmpty = found && !Object.values(found).some((count) => count > 0);
      return isEmpty ? html`<button type="button" @click=${() => remove(ctx, service, row)}>${t('service.delete')}</button>` : nothing;
    },
  })}
    ${rows.length > MOST ? html`<p class="muted">${t('service.cut', { shown: MOST, count: rows.length })}</p>` : nothing}
    <p class="muted below">${why ? t(why) : t('service.deleteHint')}</p>`;
}

async function remove(ctx, { id, labels, versions }, { serviceId, version }) {
  const { serviceName } = labels;
  const path = `registry/microservices/${segment(serviceId)}`;
  let typed = '';
  let isForced = false;
  let consumers;
  const done = await dialog({
    title: t('service.deleteTitle'),
    view: ({ close, redraw, busy, run }) => {
      if (consumers === undefined) {
        consumers = null;
        ctx.api.get(`govern/services/${segment(serviceId)}/neighbours`, { limit: 1 }).then(({ consumerCount = 0 }) => { consumers = consumerCount; redraw(); }, () => { consumers = 0; redraw(); });
      }
      const isReady = typed === serviceName && (!consumers || isForced);
      return html`<form method="dialog" @submit=${(event) => {
        event.preventDefault();
        if (isReady) run(async () => { await deleted(ctx, path, serviceId, isForced); return true; });
      }}><div class="dialog-body">
        <p>${t('service.deleteText', { version: visible(version) })}</p>
        ${consumers ? html`${notice('warn', t('service.deleteConsumers', { count: consumers }))}
          <label class="check"><input type="checkbox" .checked=${isForced} @change=${(event) => { isForced = event.target.checked; redraw(); }}><span>${t('service.deleteAnyway')}</span></label>` : nothing}
        <label class="field stacked"><span>${t('dialog.type')} <strong>${mono(serviceName)}</strong></span>
          <input type="text" autocomplete="off" spellcheck="false" autofocus @input=${(event) => { typed = event.target.value; redraw(); }}></label></div>
        <div class="dialog-actions"><button type="button" ?disabled=${busy} @click=${() => close()}>${t('common.cancel')}</button>
        <button type="submit" class="danger" ?disabled=${busy || !isReady}>${t('service.deleteNow')}</button></div></form>`;
    },
  });
  if (!done) return;
  toast(t('service.deleted', { version: visible(version) }));
  const { page, params } = current();
  if (serviceId !== id || page !== 'service' || params[0] !== id) { ctx.reload(); return; }
  const next = versions.filter((one) => one.serviceId !== id).at(-1);
  go(next ? link('service', next.serviceId, 'versions') : link('services'), { replace: true });
}

/** The server refuses to delete a version with instances. Where it must be forced because of old consumers, it would not, so the
 * console looks once more. */
async function deleted({ api }, path, serviceId, isForced) {
  if (isForced) {
    const { total } = await api.get('govern/instances', { serviceId, withShared: 1, limit: 1 });
    if (total !== 0) throw Object.assign(new Error(t('service.hasInstances')), { status: 0 });
  }
  await api.send('DELETE', path, undefined, isForced ? { force: 1 } : {});
}
