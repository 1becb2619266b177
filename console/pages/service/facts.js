// The tabs of what a version says about itself: tags, properties, and its document.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { segment } from '../../api.js';
import { t } from '../../i18n.js';
import { json } from '../../ui/json.js';
import { facts, panel } from '../../ui/page.js';
import { table } from '../../ui/table.js';
import { mono, name } from '../../ui/text.js';
import { when } from '../../ui/time.js';

/** Most entries of a map on the page. The document shows the rest. */
const MOST = 500;

const pairs = (map, caption, empty) => {
  const all = Object.entries(map ?? {});
  return html`${table({
    caption,
    rows: all.slice(0, MOST),
    keyOf: ([key]) => key,
    empty,
    columns: [
      { key: 'name', label: t('service.key'), rowHeader: true, cell: ([key]) => mono(key || '–') },
      { key: 'value', label: t('service.value'), cell: ([, value]) => html`<span class="value">${name(value)}</span>` },
    ],
  })}${all.length > MOST ? html`<p class="muted pad">${t('service.cut', { shown: MOST, count: all.length })}</p>` : nothing}`;
};

const time = (seconds) => (Number(seconds) ? when(Number(seconds) * 1000) : undefined);

export const tags = {
  kinds: ['service'],
  load: ({ api, signal }, id) => api.get(`registry/microservices/${segment(id)}/tags`, {}, signal),
  view: (ctx, { tags: map } = {}) => pairs(map, t('service.tab.tags'), t('service.noTags')),
};

export const properties = {
  kinds: ['service'],
  view(ctx, own, { document }) {
    const { framework, paths = [] } = document;
    return html`${panel(t('service.about'), facts([
      [t('service.alias'), document.alias && name(document.alias)],
      [t('service.framework'), framework?.name && html`${name(framework.name)} ${mono(framework.version ?? '')}`],
      [t('service.level'), document.level && name(document.level)],
      [t('service.registerBy'), document.registerBy && name(document.registerBy)],
      [t('service.paths'), paths.length ? html`<span class="inline">${paths.slice(0, MOST).map((one) => html`${mono(one?.path ?? '')} `)}</span>` : undefined],
      [t('service.registered'), time(document.timestamp)],
      [t('service.modified'), time(document.modTimestamp)],
    ]))}
    ${panel(t('service.tab.properties'), pairs(document.properties, t('service.tab.properties'), t('service.noProperties')))}`;
  },
};

export const raw = {
  kinds: ['service'],
  view: (ctx, own, { document }) => json(document, { label: t('service.tab.json') }),
};
