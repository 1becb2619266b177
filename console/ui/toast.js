import { html, render } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { t } from '../i18n.js';

const MOST = 4;
let toasts = [];
let last = 0;

function draw() {
  render(html`${repeat(toasts, (one) => one.id, (one) => html`<div class="toast ${one.kind}">
    <span class="mark" aria-hidden="true">${{ ok: '✓', error: '!', info: 'i' }[one.kind]}</span><span>${one.text}</span>
    <button type="button" class="icon-button" aria-label=${t('common.dismiss')} @click=${() => dismiss(one.id)}>×</button></div>`)}`, document.getElementById('toasts'));
}

function dismiss(id) {
  toasts = toasts.filter((one) => one.id !== id);
  draw();
}

/** A short notice. Errors stay until somebody dismisses them. `kind`: `ok`, `error` or `info`. */
export function toast(text, { kind = 'ok' } = {}) {
  const id = last += 1;
  toasts = [...toasts, { id, text, kind }].slice(-MOST);
  draw();
  if (kind !== 'error') setTimeout(() => dismiss(id), 6000);
}
