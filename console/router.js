// Hash routes: `#/page/param/param?key=value`. Every view is such a link.

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

export function parse(hash) {
  const text = hash.replace(/^#\/?/, '');
  const at = text.indexOf('?');
  const path = at < 0 ? text : text.slice(0, at);
  const [page = '', ...params] = path.split('/').map(decoded);
  while (params.length && !params.at(-1)) params.pop();
  return { page: page || 'overview', params, query: new URLSearchParams(at < 0 ? '' : text.slice(at + 1)), hash: hash || '#/' };
}

/** `link('service', id, 'versions', {sort: 'name'})`. Empty values of the query are left out. */
export function link(...parts) {
  const query = typeof parts.at(-1) === 'object' ? parts.pop() : {};
  const path = parts.map((part) => encodeURIComponent(part)).join('/');
  const entries = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const search = new URLSearchParams(entries).toString();
  return `#/${path}${search ? `?${search}` : ''}`;
}

export function current() {
  return parse(location.hash);
}

export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(history.state, '', hash);
    dispatchEvent(new Event('hashchange'));
  } else {
    location.hash = hash;
  }
}

/** Changes parts of the query of the current route. The cursor `after` belongs to the old query and goes. */
export function setQuery(changes, { replace = true } = {}) {
  const { page, params, query } = current();
  const next = Object.fromEntries(query);
  delete next.after;
  Object.assign(next, changes);
  go(link(...(page === 'overview' && !params.length ? [] : [page, ...params]), next), { replace });
}
