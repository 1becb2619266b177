import { html, nothing } from '../vendor/lit-html/lit-html.js';
import * as i18n from '../i18n.js';

const attribute = (time) => (typeof time === 'number' ? new Date(time).toISOString() : time);

/** `3 min ago`; the title has the whole time. */
export const ago = (time) => (time ? html`<time datetime=${attribute(time)} title=${i18n.dateTime(time)}>${i18n.ago(time)}</time>` : nothing);

/** The time of today, or the day; the title has the whole time. */
export const when = (time) => (time ? html`<time datetime=${attribute(time)} title=${i18n.dateTime(time)}>${i18n.clock(time)}</time>` : nothing);

/** A duration in seconds. */
export const age = (seconds) => (typeof seconds === 'number' ? html`<span class="nowrap">${i18n.duration(seconds)}</span>` : nothing);
