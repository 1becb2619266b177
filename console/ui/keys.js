// The keyboard: `/` searches, `?` shows the keys, `g` and a letter go to a page.

import { html } from '../vendor/lit-html/lit-html.js';
import { store, stored, t } from '../i18n.js';
import { link } from '../router.js';
import { dialog } from './dialog.js';

const PLACES = { o: 'overview', s: 'services', t: 'topology', i: 'instances', w: 'explain', e: 'events', n: 'nodes' };
const PAUSE = 1500;
/** Where `/` goes: the search of the page, or the first box of its form. */
const BOX = 'main [data-search], main [role=search] input:not([type=checkbox], [type=radio])';

let pending = 0;
let isSearchWanted = false;

const isTyping = (target) => target.closest?.('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]');
const isOff = () => stored('keys') === 'off';

export function listenForKeys({ go }) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isOff() || isTyping(event.target) || document.querySelector('dialog[open]')) return;
    const isSecond = performance.now() - pending < PAUSE;
    pending = 0;
    isSearchWanted = false;
    if (isSecond && PLACES[event.key]) {
      event.preventDefault();
      go(PLACES[event.key] === 'overview' ? '#/' : link(PLACES[event.key]));
    } else if (event.key === 'g') {
      pending = performance.now();
    } else if (event.key === '/') {
      event.preventDefault();
      isSearchWanted = true;
      if (!focusSearch()) go(link('services'));
    } else if (event.key === '?') {
      event.preventDefault();
      showKeys();
    }
  });
}

/** Moves the focus to the search, if `/` asked for it. A page without a search asks again when that of the services is there. */
export function focusSearch({ isLast = false } = {}) {
  const box = isSearchWanted && document.querySelector(BOX);
  if (isLast) isSearchWanted = false;
  if (!box) return false;
  isSearchWanted = false;
  box.focus();
  box.select();
  return true;
}

export function showKeys() {
  dialog({
    title: t('keys.title'),
    view: ({ close }) => html`<div class="dialog-body"><dl class="keys">
      <div><dt><kbd>/</kbd></dt><dd>${t('keys.search')}</dd></div>
      ${Object.entries(PLACES).map(([key, page]) => html`<div><dt><kbd>g</kbd> <kbd>${key}</kbd></dt><dd>${t(`nav.${page}`)}</dd></div>`)}
      <div><dt><kbd>Esc</kbd></dt><dd>${t('keys.escape')}</dd></div>
      <div><dt><kbd>?</kbd></dt><dd>${t('keys.help')}</dd></div></dl>
      <label class="check"><input type="checkbox" .checked=${!isOff()} @change=${(event) => store('keys', event.target.checked ? 'on' : 'off')}> ${t('keys.on')}</label></div>
      <div class="dialog-actions"><button type="button" autofocus @click=${() => close()}>${t('common.close')}</button></div>`,
  });
}
