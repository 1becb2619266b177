import { html } from '../vendor/lit-html/lit-html.js';
import { t } from '../i18n.js';
import { toast } from './toast.js';

/** Copies a text. Browsers have no clipboard on pages without TLS; then an old command does it. */
export async function copy(text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = Object.assign(document.createElement('textarea'), { value: text, className: 'visually-hidden' });
      document.body.append(area);
      area.select();
      const done = document.execCommand('copy');
      area.remove();
      if (!done) throw new Error();
    }
    toast(t('common.copied'));
  } catch {
    toast(t('common.notCopied'), { kind: 'error' });
  }
}

export const copyButton = (text, label = t('common.copy')) => html`<button type="button" class="icon-button" title=${label} aria-label=${label}
  @click=${(event) => { event.preventDefault(); event.stopPropagation(); copy(text); }}><svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="M5.5 5.5v-4h9v9h-4M1.5 5.5h9v9h-9z"></path></svg></button>`;
