// Reads contracts. They are hostile: everything here has a limit, and a text that is over one is shown as a text.

/** Longest texts, in characters, that are parsed. */
const LONGEST = { json: 2_000_000, yaml: 400_000 };
const DEEPEST = 60;
/** A YAML document repeats by aliases what it says once. */
const MOST_ALIASES = 2_000;

let parser;

/** js-yaml is only loaded where a contract in YAML is shown. It is a script for browsers, so it comes as a global. */
async function yaml() {
  parser ??= import('../../vendor/js-yaml/js-yaml.min.js').then(() => globalThis.jsyaml, (error) => { parser = undefined; throw error; });
  return parser;
}

/** Whether brackets outside of texts nest deeper than parsers and readers take. */
function isDeep(text) {
  let depth = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (isQuoted) {
      if (code === 92) at += 1;
      else if (code === 34) isQuoted = false;
    } else if (code === 34) isQuoted = true;
    else if (code === 123 || code === 91) { depth += 1; if (depth > DEEPEST) return true; } else if (code === 125 || code === 93) depth -= 1;
  }
  return false;
}

/**
 * `{kind: 'openapi' | 'json' | 'yaml' | 'text', document?, pretty, why?}`. `pretty`: the text as it is compared and shown. `why`: the
 * key of a sentence that says why a text is not read.
 */
export async function read(source) {
  const text = source.replaceAll('\r\n', '\n');
  const start = text.trimStart();
  if (start.startsWith('{') || start.startsWith('[')) {
    if (text.length > LONGEST.json) return { kind: 'text', pretty: text, why: 'contract.tooLong' };
    if (isDeep(text)) return { kind: 'text', pretty: text, why: 'contract.tooDeep' };
    try {
      const document = JSON.parse(text);
      return { kind: isOpenApi(document) ? 'openapi' : 'json', document, pretty: text.includes('\n') ? text : JSON.stringify(document, null, 2) };
    } catch { /* YAML may begin with a bracket, too */ }
  }
  if (!/^[^\S\n]*(["']?)(openapi|swagger)\1[^\S\n]*:/m.test(text) && !start.startsWith('{')) return { kind: 'text', pretty: text };
  if (text.length > LONGEST.yaml) return { kind: 'text', pretty: text, why: 'contract.tooLong' };
  if ((text.match(/(?:^|[\s,[{:-])\*[^\s,\]}]/g) ?? []).length > MOST_ALIASES) return { kind: 'text', pretty: text, why: 'contract.tooManyAliases' };
  try {
    const { load, JSON_SCHEMA } = await yaml();
    // Without merge keys, times and sets: what JSON has.
    const document = load(text, { schema: JSON_SCHEMA, json: true, maxDepth: DEEPEST });
    return { kind: isOpenApi(document) ? 'openapi' : 'yaml', document, pretty: text };
  } catch (error) {
    return { kind: 'text', pretty: text, why: 'contract.notRead', reason: String(error?.reason ?? error?.message ?? '').slice(0, 200) };
  }
}

export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

const isOpenApi = (document) => isObject(document) && (typeof document.openapi === 'string' || typeof document.swagger === 'string' || typeof document.swagger === 'number') && isObject(document.paths);

/** The entries of an object; none of anything else. */
export const entries = (value) => (isObject(value) ? Object.entries(value) : []);
export const list = (value) => (Array.isArray(value) ? value : []);

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** `[{method, path, operation, shared}]`: `shared` are the parameters of the path. */
export function operations(document) {
  const found = [];
  for (const [path, item] of entries(document.paths)) {
    for (const [method, operation] of entries(item)) {
      if (METHODS.includes(method) && isObject(operation)) found.push({ method, path, operation, shared: list(item.parameters) });
    }
  }
  return found;
}

/** The named schemas of Swagger 2 and OpenAPI 3. */
export const schemas = (document) => entries(document.definitions ?? document.components?.schemas);

/** What a reference within the document means, followed at most 8 times. */
export function resolve(document, value) {
  let now = value;
  for (let step = 0; step < 8 && isObject(now) && typeof now.$ref === 'string'; step += 1) {
    if (!now.$ref.startsWith('#/')) return now;
    let target = document;
    for (const part of now.$ref.slice(2).split('/', 12)) {
      const key = part.replace(/~1/g, '/').replace(/~0/g, '~');
      target = isObject(target) && Object.hasOwn(target, key) ? target[key] : undefined;
    }
    if (target === undefined) return now;
    now = target;
  }
  return now;
}

/** The name of the schema that a value refers to. */
export function refName(value) {
  const match = isObject(value) && typeof value.$ref === 'string' && value.$ref.length < 500 && /^#\/(?:definitions|components\/schemas)\/([^/]+)$/.exec(value.$ref);
  return match ? match[1].replace(/~1/g, '/').replace(/~0/g, '~') : undefined;
}

/** A text by which two values are compared. Aliases can make a small document endless, so it ends after `budget` values. */
export function fingerprint(value, budget = { left: 20_000 }, depth = 0) {
  budget.left -= 1;
  if (budget.left < 0 || depth > DEEPEST) return '…';
  if (Array.isArray(value)) return `[${value.slice(0, budget.left + 1).map((one) => fingerprint(one, budget, depth + 1)).join()}]`;
  if (isObject(value)) return `{${Object.keys(value).sort().slice(0, budget.left + 1).map((key) => `${JSON.stringify(key)}:${fingerprint(value[key], budget, depth + 1)}`).join()}}`;
  return JSON.stringify(value) ?? 'null';
}
