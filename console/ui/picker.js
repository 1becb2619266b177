// A text box with suggestions of the server: the pattern "combobox" of ARIA.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { isAbort } from '../api.js';
import { t } from '../i18n.js';
import { counts } from './status.js';
import { mono, name, visible } from './text.js';

const PAUSE = 150;
const MOST = 12;

/**
 * `text`: what the box shows while nobody types. `find(text, signal)` gives `[{text, view}]`. `choose(option)`: one was chosen;
 * undefined if the box was emptied. `typed(text)`: takes a text that is none of the options; without it, only options count.
 * `onLeave`: takes it also when the box is left, not only with Enter.
 */
export function picker(ctx, { key, label, placeholder = '', text = '', find, choose, typed, onLeave = false }) {
  const box = (ctx.state.pickers ??= {})[key] ??= { options: [], at: -1, isOpen: false, text: undefined };
  const id = `picker-${key}`;
  const stop = () => { clearTimeout(box.timer); box.controller?.abort(); };
  const ask = async () => {
    stop();
    const { signal } = box.controller = new AbortController();
    box.isOpen = true;
    try {
      const options = (await find((box.text ?? '').trim(), signal)).slice(0, MOST);
      if (signal.aborted) return;
      Object.assign(box, { options, at: -1, error: undefined, isAsked: true });
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      Object.assign(box, { options: [], at: -1, error, isAsked: true });
    }
    ctx.redraw();
  };
  const close = () => { stop(); Object.assign(box, { isOpen: false, isAsked: false, options: [], at: -1 }); };
  const take = (option) => { close(); box.text = undefined; choose(option); ctx.redraw(); };
  const leave = (takes) => {
    const said = box.text?.trim();
    const same = box.options.filter((option) => option.text === said);
    close();
    box.text = undefined;
    if (said !== undefined && said !== text) {
      if (!said) choose(undefined);
      else if (takes && same.length === 1) choose(same[0]);
      else if (takes) typed(said);
    }
    ctx.redraw();
  };
  /** Takes what is typed, after a last look whether it names an option. */
  const settle = async () => {
    const said = box.text;
    if (!said?.trim()) { leave(true); return; }
    await ask();
    if (box.text !== said) return;
    if (!onLeave && box.options.length === 1) take(box.options[0]);
    else if (typed) leave(true);
  };
  const step = (by) => {
    const { length } = box.options;
    if (length) box.at = (box.at + by + (box.at < 0 && by < 0 ? 1 : 0) + length) % length;
    ctx.redraw();
    requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(`${id}-${box.at}`)?.scrollIntoView({ block: 'nearest' })));
  };
  const press = (event) => {
    if (event.isComposing) return;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (box.isOpen) step(event.key === 'ArrowDown' ? 1 : -1);
      else ask();
    } else if (event.key === 'Enter') {
      event.preventDefault();
      if (box.at >= 0) take(box.options[box.at]);
      else settle();
    } else if (event.key === 'Escape' && (box.isOpen || box.text !== undefined)) {
      event.preventDefault();
      close();
      box.text = undefined;
      ctx.redraw();
    }
  };
  return html`<div class="picker"><label class="field stacked"><span>${label}</span>
    <input type="text" role="combobox" data-search title=${t('keys.searchHint')} id=${id} autocomplete="off" spellcheck="false" maxlength="200" placeholder=${placeholder} aria-autocomplete="list"
      aria-expanded=${box.isOpen ? 'true' : 'false'} aria-controls="${id}-list" aria-activedescendant=${box.at >= 0 ? `${id}-${box.at}` : nothing}
      .value=${live(box.text ?? text)}
      @input=${(event) => { box.text = event.target.value; clearTimeout(box.timer); box.timer = setTimeout(ask, PAUSE); }}
      @click=${(event) => { if (!box.isOpen) { event.target.select(); ask(); } }}
      @keydown=${press} @blur=${() => { if (onLeave && box.text?.trim()) settle(); else if (box.text !== undefined || box.isOpen) leave(false); }}></label>
    <ul id="${id}-list" role="listbox" tabindex="-1" aria-label=${label} ?hidden=${!box.isOpen || !box.isAsked}>
      ${box.options.map((option, index) => html`<li role="option" id="${id}-${index}" aria-selected=${index === box.at ? 'true' : 'false'}
        @mousedown=${(event) => event.preventDefault()} @click=${() => take(option)}>${option.view}</li>`)}
      ${box.isAsked && !box.options.length ? html`<li role="option" aria-disabled="true" aria-selected="false" class="muted">${box.error ? visible(box.error.message) : t('picker.none')}</li>` : nothing}
    </ul></div>`;
}

/** A service in one line. */
export const serviceLine = ({ serviceName, version, appId, environment, instances }) => html`<span class="line">${serviceName ? name(serviceName) : nothing}
  ${version ? mono(version) : nothing}<span class="muted">${name([appId, environment].filter(Boolean).join(' · '))}</span>${counts(instances)}</span>`;

const one = (service, version) => ({
  ...service, ...version,
  text: version ? `${visible(service.serviceName)} ${visible(version.version)}` : visible(service.serviceName),
  view: serviceLine(version ? { ...service, version: version.version, instances: version.instances } : service),
});

/** Finds services by a part of the name, the application or the id. `byVersion`: each version is an option, the newest first. */
export const servicesOf = (api, { byVersion = false } = {}) => async (search, signal) => {
  const { items = [] } = await api.get('govern/services', { search, limit: MOST }, signal);
  return byVersion ? items.flatMap((service) => [...service.versions ?? []].reverse().map((version) => one(service, version))) : items.map((service) => one(service));
};
