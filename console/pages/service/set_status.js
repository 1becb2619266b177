import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { segment } from '../../api.js';
import { t } from '../../i18n.js';
import { dialog } from '../../ui/dialog.js';
import { STATUSES, status, statusWord } from '../../ui/status.js';
import { mono, name, visible } from '../../ui/text.js';
import { toast } from '../../ui/toast.js';

export const putStatus = ({ api }, { serviceId, instanceId }, value) => api.send('PUT', `registry/microservices/${segment(serviceId)}/instances/${segment(instanceId)}/status`, undefined, { value });

/** Asks for the new status of an instance, and sets it. */
export async function setStatus(ctx, row) {
  let chosen = row.status;
  const done = await dialog({
    title: t('service.statusTitle'),
    view: ({ close, redraw, busy, run }) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      if (chosen !== row.status) run(async () => { await putStatus(ctx, row, chosen); return true; });
    }}>
      <div class="dialog-body"><p>${name(row.hostName)} <span class="muted">${mono(row.instanceId)}</span></p>
      <fieldset class="choices"><legend>${t('service.newStatus')}</legend>${STATUSES.map((value) => html`<label class="check"><input type="radio" name="status" value=${value} .checked=${value === chosen} ?autofocus=${value === chosen} @change=${() => { chosen = value; redraw(); }}><span>${status(value)}${value === row.status ? html` <span class="muted">(${t('service.now')})</span>` : nothing}<br><span class="muted small">${t(`service.means.${value}`)}</span></span></label>`)}</fieldset></div>
      <div class="dialog-actions"><button type="button" ?disabled=${busy} @click=${() => close()}>${t('common.cancel')}</button>
      <button type="submit" class="primary" ?disabled=${busy || chosen === row.status}>${t('service.setNow')}</button></div></form>`,
  });
  if (!done) return;
  toast(t('service.statusSet', { name: visible(row.hostName), status: statusWord(chosen) }));
  ctx.reload();
}
