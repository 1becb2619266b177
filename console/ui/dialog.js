// Native dialogs: they keep the focus inside, and Escape closes them.

import { html, nothing, render } from '../vendor/lit-html/lit-html.js';
import { t } from '../i18n.js';
import { failure } from './page.js';
import { mono } from './text.js';

let count = 0;

/** Where the focus was before a dialog. If that is gone or disabled: the rest of its row, or the heading of the page. */
function focusAgain(before) {
  const isThere = before?.isConnected && !before.disabled;
  (isThere ? before : before?.closest('tr')?.querySelector('a[href], button:not(:disabled)') ?? document.querySelector('main h1'))?.focus({ preventScroll: true });
}

/**
 * Opens a dialog, and gives what it was closed with; undefined if it was dismissed.
 * `view({close, redraw, busy, run})` is drawn inside. `run(work)` waits for a request, shows its failure in the dialog, and closes
 * the dialog with the answer.
 */
export function dialog({ title, view, wide = false }) {
  return new Promise((resolve) => {
    const element = document.createElement('dialog');
    const id = `dialog-${count += 1}`;
    const before = document.activeElement;
    let busy = false;
    let isLeft = false;
    let error;
    let result;
    element.className = wide ? 'wide' : '';
    element.setAttribute('aria-labelledby', id);
    const close = (value) => { result = value; element.close(); };
    const run = async (work) => {
      if (busy) return;
      busy = true;
      error = undefined;
      redraw();
      try { close(await work()); } catch (thrown) { error = thrown; }
      busy = false;
      if (!element.open) return;
      if (isLeft) close(); else redraw();
    };
    const redraw = () => {
      const hadFocus = element.contains(document.activeElement);
      render(html`<div class="dialog-head"><h2 id=${id} tabindex="-1">${title}</h2>
      <button type="button" class="icon-button" aria-label=${t('common.close')} ?disabled=${busy} @click=${() => close()}>×</button></div>
      ${view({ close, redraw, busy, run })}${error ? failure(error) : nothing}`, element);
      // What had the focus may be gone with a step of the dialog.
      if (hadFocus && (!element.contains(document.activeElement) || document.activeElement.id === id)) (element.querySelector('[autofocus]:not(:disabled)') ?? element.querySelector('h2')).focus();
    };
    element.addEventListener('cancel', (event) => { if (busy) event.preventDefault(); });
    // A dialog belongs to the view that opened it, but what its request gives must reach the user.
    const leave = () => { if (busy) isLeft = true; else close(); };
    addEventListener('hashchange', leave);
    element.addEventListener('close', () => {
      removeEventListener('hashchange', leave);
      element.remove();
      focusAgain(before);
      resolve(result);
    });
    document.body.append(element);
    redraw();
    element.showModal();
  });
}

/**
 * Asks before something is changed; gives whether it was confirmed. `body`: a text or a template. `action`: the verb on the button.
 * `danger`: a change that cannot be taken back. `typed`: a text to type first. `work`: the request; the dialog stays open until it
 * is answered, and shows its failure.
 */
export async function confirm({ title, body, action, danger = false, typed, work }) {
  let text = '';
  const done = await dialog({
    title,
    view: ({ close, redraw, busy, run }) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      if (typed && text !== typed) return;
      if (work) run(async () => { await work(); return true; });
      else close(true);
    }}>
      <div class="dialog-body">${typeof body === 'string' ? html`<p>${body}</p>` : body}
      ${typed ? html`<label class="field stacked"><span>${t('dialog.type')} <strong>${mono(typed)}</strong></span>
        <input type="text" autocomplete="off" spellcheck="false" autofocus @input=${(event) => { text = event.target.value; redraw(); }}></label>` : nothing}</div>
      <div class="dialog-actions"><button type="button" ?disabled=${busy} @click=${() => close()}>${t('common.cancel')}</button>
      <button type="submit" class=${danger ? 'danger' : 'primary'} ?autofocus=${!typed} ?disabled=${busy || (typed && text !== typed)} aria-busy=${busy ? 'true' : nothing}>${action}</button></div></form>`,
  });
  return done === true;
}
