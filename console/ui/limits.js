import { html } from '../vendor/lit-html/lit-html.js';
import { bytes, number, percent, t, tr } from '../i18n.js';
import { bar } from './page.js';
import { table } from './table.js';
import { visible } from './text.js';

const written = (name, value) => (/bytes$/i.test(name) ? bytes(value) : number(value));

const ORDER = ['services', 'instances', 'accounts', 'roles', 'tenants'];

/** The limits that all nodes share. Only the node that answers tells them. */
export const sharedLimits = (nodes) => nodes.flatMap(({ limits }) => limits ?? []).filter(({ scope }) => scope !== 'node').sort((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name));

/** Limits and how much of each is in use. */
export const limitTable = (limits, caption) => table({
  caption,
  rows: limits,
  keyOf: (limit) => `${limit.scope} ${limit.name}`,
  columns: [
    { key: 'name', label: t('nodes.limit'), rowHeader: true, cell: (limit) => html`<span>${tr(`limit.${limit.name}`, visible(limit.name))}</span>` },
    { key: 'used', label: t('nodes.used'), numeric: true, cell: (limit) => html`<span>${written(limit.name, limit.used)}</span>` },
    { key: 'limit', label: t('nodes.most'), numeric: true, cell: (limit) => html`<span>${written(limit.name, limit.limit)}</span>` },
    { key: 'share', label: t('nodes.share'), cell: (limit) => html`<span class="share">${bar(limit.used, limit.limit)}<span class="numeric">${percent(limit.used, limit.limit)}</span></span>` },
  ],
});
