// Shows an OpenAPI document, 2 or 3. What is closed is not drawn, and each part has a limit.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../../i18n.js';
import { facts, panel } from '../../ui/page.js';
import { table } from '../../ui/table.js';
import { mono, name, visible } from '../../ui/text.js';
import { entries, isObject, list, operations, refName, resolve, schemas } from './document.js';

const MOST = { operations: 300, schemas: 500, parameters: 100, responses: 60, fields: 300, values: 12, depth: 5, visits: 6000 };

const NO_NAME = '–';

const text = (value) => (typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : '');

/** Draws a part when it is open. What is open is kept in the state of the page. */
function part(ctx, key, summary, body, kind = '') {
  const open = ctx.state.openParts ??= new Set();
  return html`<details class="part ${kind}" data-part=${key} ?open=${open.has(key)} @toggle=${(event) => {
    if (event.target !== event.currentTarget || event.target.open === open.has(key)) return;
    if (event.target.open) open.add(key); else open.delete(key);
    ctx.redraw();
  }}><summary>${summary}</summary>${open.has(key) ? html`<div class="part-body">${body()}</div>` : nothing}</details>`;
}

function showSchema(ctx, key) {
  (ctx.state.openParts ??= new Set()).add(`schema ${key}`);
  ctx.redraw();
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const found = [...document.querySelectorAll('details[data-part]')].find((one) => one.dataset.part === `schema ${key}`);
    found?.scrollIntoView({ block: 'nearest' });
    found?.querySelector('summary')?.focus();
  }));
}

const reference = (ctx, key) => html`<button type="button" class="linklike" @click=${() => showSchema(ctx, key)}>${name(key)}</button>`;

/** How many schemas one part may look at: references and aliases can make a small document endless. */
const visits = () => ({ left: MOST.visits });

/** A type in one line: `array of Order`, `string (uuid)`. */
function type(ctx, schema, budget, depth = 0) {
  budget.left -= 1;
  if (budget.left < 0) return '…';
  if (schema === true) return t('contract.any');
  if (!isObject(schema)) return nothing;
  const key = refName(schema);
  if (key !== undefined) return reference(ctx, key);
  if (typeof schema.$ref === 'string') return mono(schema.$ref);
  if (depth > 3) return '…';
  if (schema.items !== undefined || schema.type === 'array') return html`${t('contract.listOf')} ${type(ctx, schema.items, budget, depth + 1)}`;
  for (const [member, word] of [['allOf', 'contract.allOf'], ['oneOf', 'contract.oneOf'], ['anyOf', 'contract.anyOf']]) {
    const all = list(schema[member]);
    if (all.length) return html`${t(word)} ${all.slice(0, MOST.values).map((one, index) => html`${index ? ', ' : ''}${type(ctx, one, budget, depth + 1)}`)}${all.length > MOST.values ? ', …' : ''}`;
  }
  if (isObject(schema.additionalProperties)) return html`${t('contract.mapOf')} ${type(ctx, schema.additionalProperties, budget, depth + 1)}`;
  const types = [].concat(schema.type ?? (schema.properties ? 'object' : [])).slice(0, 5).map(text).filter(Boolean);
  const word = types.join(' | ') || t('contract.any');
  return html`${visible(word)}${schema.format ? html` (${name(text(schema.format))})` : nothing}${schema.nullable === true ? ` | null` : nothing}`;
}

/** What else a schema demands. */
function rules(schema) {
  if (!isObject(schema)) return nothing;
  const parts = [];
  const values = list(schema.enum);
  if (values.length) parts.push(html`${t('contract.values')} ${values.slice(0, MOST.values).map((one, index) => html`${index ? ', ' : ''}${mono(text(one) || (one === null ? 'null' : '…'))}`)}${values.length > MOST.values ? ', …' : ''}`);
  if (schema.default !== undefined && text(schema.default)) parts.push(html`${t('contract.default')} ${mono(text(schema.default))}`);
  for (const [member, sign] of [['minimum', '≥'], ['maximum', '≤'], ['minLength', t('contract.length', { sign: '≥' })], ['maxLength', t('contract.length', { sign: '≤' })], ['minItems', t('contract.items', { sign: '≥' })], ['maxItems', t('contract.items', { sign: '≤' })]]) {
    if (typeof schema[member] === 'number') parts.push(`${sign} ${schema[member]}`);
  }
  if (text(schema.pattern)) parts.push(html`${t('contract.pattern')} ${mono(text(schema.pattern).slice(0, 200))}`);
  return parts.map((one, index) => html`${index ? ' · ' : ''}${one}`);
}

const about = (schema, description) => html`<span class="lines">${text(description) ? html`<span>${name(text(description))}</span>` : nothing}<span class="muted small">${rules(schema)}</span></span>`;
const required = (is) => (is ? html`<span class="badge">${t('contract.required')}</span>` : nothing);
const cut = (shown, all) => (all > shown ? html`<p class="muted">${t('contract.more', { count: all - shown })}</p>` : nothing);

/** The members of a schema, those of members below it, with their paths. Members of `allOf` are its own. */
function fields(document, schema, budget) {
  const rows = [];
  const walk = (value, prefix, depth) => {
    budget.left -= 1;
    if (budget.left < 0 || depth > MOST.depth || rows.length >= MOST.fields || !isObject(value)) return;
    for (const one of list(value.allOf).slice(0, MOST.values)) walk(resolve(document, one), prefix, depth + 1);
    const needed = new Set(list(value.required).slice(0, 1000));
    for (const [key, member] of entries(value.properties)) {
      if (budget.left < 0 || rows.length >= MOST.fields) return;
      rows.push({ path: `${prefix}${key}`, member, isRequired: needed.has(key) });
      if (refName(member) === undefined) {
        walk(member, `${prefix}${key}.`, depth + 1);
        if (isObject(member) && refName(member.items) === undefined) walk(member.items, `${prefix}${key}[].`, depth + 1);
      }
    }
  };
  walk(schema, '', 0);
  return rows;
}

function fieldTable(ctx, document, schema, caption, budget) {
  const rows = fields(document, schema, budget);
  const more = rows.length >= MOST.fields || budget.left < 0 ? html`<p class="muted">${t('contract.moreFields')}</p>` : nothing;
  if (!rows.length) return more;
  return html`${table({
    caption,
    rows: rows.map((one, place) => ({ ...one, place })),
    keyOf: ({ place }) => place,
    columns: [
      { key: 'name', label: t('contract.member'), rowHeader: true, cell: ({ path, isRequired }) => html`<span>${mono(path || NO_NAME)} ${required(isRequired)}</span>` },
      { key: 'type', label: t('contract.type'), cell: ({ member }) => html`<span>${type(ctx, member, budget)}</span>` },
      { key: 'about', label: t('contract.about'), cell: ({ member }) => about(member, member?.description) },
    ],
  })}${more}`;
}

/** The body of a request or an answer: its type, and its members if it has no name. */
function body(ctx, document, value, caption, budget) {
  const kinds = entries(value?.content).slice(0, 8);
  const shown = kinds.length ? kinds.map(([media, one]) => [media, one?.schema]) : value?.schema === undefined ? [] : [[undefined, value.schema]];
  return shown.map(([media, schema]) => html`<div class="body">${media ? html`${mono(media)}: ` : nothing}${type(ctx, schema, budget)}
    ${refName(schema) === undefined ? fieldTable(ctx, document, schema?.items ?? schema, media ? `${caption} ${visible(media.slice(0, 100))}` : caption, budget) : nothing}</div>`);
}

function operationBody(ctx, document, { method, path, operation, shared }) {
  const budget = visits();
  // Regions of a page must have different names.
  const caption = (part) => `${t(part)}: ${method.toUpperCase()} ${visible(path.slice(0, 200))}`;
  const all = [...shared, ...list(operation.parameters)].slice(0, MOST.parameters + 1).map((one) => resolve(document, one)).filter(isObject);
  const bodies = all.filter((one) => one.in === 'body');
  const parameters = all.filter((one) => one.in !== 'body').slice(0, MOST.parameters);
  const request = resolve(document, operation.requestBody);
  const responses = entries(operation.responses);
  return html`
    ${text(operation.description) ? html`<p class="description">${name(text(operation.description))}</p>` : nothing}
    ${parameters.length ? html`<h3>${t('contract.parameters')}</h3>${table({
    caption: caption('contract.parameters'),
    rows: parameters.map((one, index) => ({ ...one, index })),
    keyOf: ({ index }) => index,
    columns: [
      { key: 'name', label: t('service.key'), rowHeader: true, cell: (one) => html`<span>${mono(text(one.name) || NO_NAME)} ${required(one.required === true)}</span>` },
      { key: 'in', label: t('contract.in'), cell: (one) => name(text(one.in)) },
      { key: 'type', label: t('contract.type'), cell: (one) => html`<span>${type(ctx, one.schema ?? one, budget)}</span>` },
      { key: 'about', label: t('contract.about'), cell: (one) => about(one.schema ?? one, one.description) },
    ],
  })}` : nothing}
    ${bodies.length || isObject(request) ? html`<h3>${t('contract.body')} ${required(bodies.some((one) => one.required === true) || request?.required === true)}</h3>${bodies.slice(0, 2).map((one) => body(ctx, document, one, caption('contract.body'), budget))}${isObject(request) ? body(ctx, document, request, caption('contract.body'), budget) : nothing}` : nothing}
    <h3>${t('contract.responses')}</h3>
    ${responses.length ? table({
    caption: caption('contract.responses'),
    rows: responses.slice(0, MOST.responses).map(([code, value]) => ({ code, value: resolve(document, value) })),
    keyOf: ({ code }) => code,
    columns: [
      { key: 'code', label: t('contract.code'), rowHeader: true, cell: ({ code }) => mono(code || NO_NAME) },
      { key: 'about', label: t('contract.about'), cell: ({ value }) => name(text(value?.description)) },
      { key: 'body', label: t('contract.body'), cell: ({ code, value }) => html`<div>${body(ctx, document, value, `${caption('contract.body')} ${visible(code.slice(0, 50))}`, budget)}</div>` },
    ],
  }) : html`<p class="muted">${t('contract.noResponses')}</p>`}`;
}

function schemaBody(ctx, document, key, schema) {
  const budget = visits();
  const whole = resolve(document, schema);
  const members = fieldTable(ctx, document, whole, `${t('contract.schema')}: ${visible(key.slice(0, 200))}`, budget);
  return html`<p>${type(ctx, schema, budget)}</p>${about(whole, whole?.description)}${members}`;
}

export function openApi(ctx, document) {
  const info = isObject(document.info) ? document.info : {};
  const all = operations(document);
  const named = schemas(document);
  const servers = list(document.servers).slice(0, 10).map((one) => text(one?.url)).filter(Boolean);
  return html`${panel(text(info.title) ? name(text(info.title)) : t('contract.openApi'), html`${facts([
    [t('service.version'), text(info.version) && name(text(info.version))],
    [t('contract.format'), `OpenAPI ${visible(text(document.openapi ?? document.swagger))}`],
    [t('contract.base'), text(document.basePath) ? mono(text(document.basePath)) : servers.length ? html`<span class="lines">${servers.map((one) => html`<span>${mono(one)}</span>`)}</span>` : undefined],
    [t('contract.operations'), String(all.length)],
  ])}${text(info.description) ? html`<p class="pad description">${name(text(info.description))}</p>` : nothing}`)}
    <section aria-label=${t('contract.operations')}><h2 class="below">${t('contract.operations')}</h2>
    ${all.length ? nothing : html`<p class="muted">${t('contract.noOperations')}</p>`}
    ${all.slice(0, MOST.operations).map((one) => part(ctx, `${one.method} ${one.path}`, html`<span class="method ${one.method}">${one.method.toUpperCase()}</span> ${mono(one.path)}
      ${one.operation.deprecated === true ? html`<span class="badge">${t('contract.deprecated')}</span>` : nothing} <span class="muted">${name(text(one.operation.summary) || text(one.operation.operationId))}</span>`,
  () => operationBody(ctx, document, one)))}${cut(MOST.operations, all.length)}</section>
    ${named.length ? html`<section aria-label=${t('contract.schemas')}><h2 class="below">${t('contract.schemas')}</h2>
    ${named.slice(0, MOST.schemas).map(([key, schema]) => part(ctx, `schema ${key}`, html`${name(key)} <span class="muted">${name(text(schema?.title) || text(schema?.description).slice(0, 100))}</span>`, () => schemaBody(ctx, document, key, schema)))}${cut(MOST.schemas, named.length)}</section>` : nothing}`;
}
