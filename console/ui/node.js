// How a node is, as the overview and the page of the nodes show it.

import { html } from '../vendor/lit-html/lit-html.js';
import { clock, duration, t } from '../i18n.js';
import { judged } from './status.js';
import { name } from './text.js';

/** Each node writes its line every 10 s. */
const SILENT = 30;

export const isSilent = ({ ageSeconds }) => ageSeconds > SILENT;

/** `good`, `warn`, `bad` or `unknown`, and why. */
export function health(node) {
  if (!node.ours || !node.time) return ['unknown', t('nodes.foreign')];
  if (isSilent(node)) return ['bad', t('nodes.silent', { age: duration(node.ageSeconds) })];
  if (node.storeContact?.state === 'lost') return ['bad', t('nodes.lostStore', { time: clock(node.storeContact.since) })];
  if (node.agrees === false && !node.self) return ['bad', t('nodes.differs')];
  if (node.alarms?.length) return ['warn', t('nodes.hasAlarms', { count: node.alarms.length })];
  return ['good', t('nodes.healthy')];
}

/** Whether what a node says of itself is of now: it reports, and it reaches the store. */
export const isCurrent = (node) => Boolean(node.ours && node.time) && !isSilent(node) && node.storeContact?.state !== 'lost';

export const healthMark = (node) => judged(...health(node));

export const nodeName = (node) => html`<span>${name(node.node)}${node.self ? html` <span class="badge">${t('nodes.self')}</span>` : ''}</span>`;

/** Whether all nodes show the same: a judgement with its words. */
export function agreement(nodes) {
  if (nodes.some((node) => node.agrees === false)) return ['bad', t('overview.differ')];
  if (nodes.some((node) => !isCurrent(node))) return ['unknown', t('overview.cannotCompare')];
  if (nodes.length === 1) return ['good', t('overview.oneNode')];
  if (nodes.some((node) => node.agrees === undefined)) return ['unknown', t('overview.notCompared')];
  return ['good', t('overview.agree')];
}
