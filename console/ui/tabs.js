import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { number } from '../i18n.js';

/** Tabs that are links, because every view is one. `tabs([{id, href, label, count?}], current, label)` */
export const tabs = (entries, current, label) => html`<nav class="tabs" aria-label=${label}>${entries.map(({ id, href, label: text, count }) => html`<a href=${href} aria-current=${id === current ? 'page' : nothing}>${text}${count === undefined ? nothing : html` <span class="count">${number(count)}</span>`}</a>`)}</nav>`;
