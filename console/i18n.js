// Texts in two languages; numbers, times and durations by Intl.

import en from './lang/en.js';

const LANGUAGES = { en: async () => en, zh: async () => (await import('./lang/zh.js')).default };
const LOCALES = { en: () => navigator.languages.find((tag) => /^en\b/i.test(tag)) ?? 'en', zh: () => navigator.languages.find((tag) => /^zh\b/i.test(tag)) ?? 'zh-CN' };

let texts = en;
let code = 'en';
let intl;
/** The clock of the server less the clock of the browser, in milliseconds. */
let offset = 0;

export function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

export function store(key, value) {
  try { localStorage.setItem(key, value); } catch { /* the choice lasts as long as the page */ }
}

export function language() {
  return code;
}

export async function useLanguage(wanted = stored('language') ?? (/^zh\b/i.test(navigator.languages[0] ?? '') ? 'zh' : 'en')) {
  code = LANGUAGES[wanted] ? wanted : 'en';
  texts = await LANGUAGES[code]();
  const locale = LOCALES[code]();
  document.documentElement.lang = code === 'zh' ? 'zh-CN' : 'en';
  const unit = (name, unitDisplay = 'short') => new Intl.NumberFormat(locale, { style: 'unit', unit: name, unitDisplay, maximumFractionDigits: 0 });
  intl = {
    number: new Intl.NumberFormat(locale),
    fraction: new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }),
    percent: new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 }),
    smallPercent: new Intl.NumberFormat(locale, { style: 'percent', maximumSignificantDigits: 1 }),
    plural: new Intl.PluralRules(locale),
    clock: new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
    minute: new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
    day: new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
    full: new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'long' }),
    relative: new Intl.RelativeTimeFormat(locale, { numeric: 'always', style: 'short' }),
    list: new Intl.ListFormat(locale, { type: 'conjunction' }),
    units: { second: unit('second'), minute: unit('minute'), hour: unit('hour'), day: unit('day'), millisecond: unit('millisecond') },
  };
}

/** The text of a key. `{name}` is replaced by the parameter; numbers are written as the language does. A text with
 * `one` and `other` is chosen by the parameter `count`. */
export function t(key, parameters) {
  let text = texts[key] ?? en[key] ?? key;
  if (typeof text === 'object') text = text[intl.plural.select(parameters?.count ?? 0)] ?? text.other;
  if (!parameters) return text;
  return text.replace(/\{(\w+)\}/g, (all, name) => {
    const value = parameters[name];
    return value === undefined ? all : typeof value === 'number' ? number(value) : String(value);
  });
}

export const has = (key) => texts[key] !== undefined || en[key] !== undefined;

/** The text of a key, or the fallback for a key that the languages do not have. */
export const tr = (key, fallback) => (has(key) ? t(key) : fallback);

export const number = (value) => intl.number.format(value);
export const list = (values) => intl.list.format(values);

export function percent(part, whole) {
  const share = whole > 0 ? part / whole : 0;
  return share > 0 && share < 0.005 ? intl.smallPercent.format(share) : intl.percent.format(share);
}

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let step = 0;
  while (value >= 1024 && step < units.length - 1) { value /= 1024; step += 1; }
  return `${intl.fraction.format(value)} ${units[step]}`;
}

const STEPS = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** `3 min 20 s`: at most two units. */
export function duration(seconds) {
  const rest = Math.abs(seconds);
  if (rest > 0 && rest < 1) return intl.units.millisecond.format(seconds * 1000);
  const at = STEPS.findIndex(([, size]) => rest >= size);
  if (at < 0) return intl.units.second.format(0);
  const [unit, size] = STEPS[at];
  const first = Math.floor(rest / size);
  const next = STEPS[at + 1];
  const second = next && first < 10 ? Math.floor((rest - first * size) / next[1]) : 0;
  const text = intl.units[unit].format(first);
  return (seconds < 0 ? '−' : '') + (second ? `${text} ${intl.units[next[0]].format(second)}` : text);
}

/** The time of the server, in milliseconds, as far as the browser knows it. */
export const now = () => Date.now() + offset;

/** Takes the header `Date` of an answer. Clocks that differ by less than its accuracy count as one. */
export function serverTime(header) {
  const time = Date.parse(header ?? '');
  if (Number.isNaN(time)) return;
  const differs = time + 500 - Date.now();
  offset = Math.abs(differs) > 2500 ? differs : 0;
}

const parsed = (time) => (typeof time === 'number' ? new Date(time) : new Date(time ?? NaN));

export function dateTime(time) {
  const date = parsed(time);
  return Number.isNaN(date.getTime()) ? '' : intl.full.format(date);
}

/** Short: the time of today, else with the day. */
export function clock(time) {
  const date = parsed(time);
  if (Number.isNaN(date.getTime())) return '';
  return Math.abs(now() - date) < 43200e3 || date.toDateString() === new Date(now()).toDateString() ? intl.clock.format(date) : intl.day.format(date);
}

/** Hours and minutes. */
export const minute = (time) => intl.minute.format(parsed(time));

export function ago(time) {
  const date = parsed(time);
  if (Number.isNaN(date.getTime())) return '';
  const seconds = Math.round((date - now()) / 1000);
  if (Math.abs(seconds) < 2) return t('common.now');
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size);
  return intl.relative.format(Math.trunc(seconds / size), unit);
}
