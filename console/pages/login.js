import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { isAbort } from '../api.js';
import { t } from '../i18n.js';
import { head, notice } from '../ui/page.js';
import { visible } from '../ui/text.js';

/** Where to go afterwards: a view of the console, and nothing else. */
function target(route) {
  const back = route.query.get('back') ?? '';
  return back.startsWith('#/') && !back.startsWith('#/login') ? back : '#/';
}

async function submit(event, ctx) {
  event.preventDefault();
  const { state, session, api } = ctx;
  if (state.busy) return;
  const form = event.target;
  const fields = new FormData(form);
  Object.assign(state, { busy: true, problem: undefined });
  ctx.redraw();
  try {
    const token = await api.logIn(fields.get('name'), fields.get('password'));
    session.logIn(token);
    await session.load(api).catch(() => {});
    ctx.go(target(ctx.route), { replace: true });
  } catch (error) {
    if (isAbort(error)) return;
    const isLocked = error.code === '403201' || /block/i.test(error.message);
    state.problem = isLocked ? t('login.locked') : error.status === 401 ? t('login.wrong') : t('login.failed', { reason: visible(error.message) });
    form.elements.password.value = '';
    form.elements.password.focus();
  }
  state.busy = false;
  ctx.redraw();
}

export const page = {
  name: 'login',
  title: () => t('login.title'),
  kinds: [],
  load: async () => ({}),
  view(ctx) {
    const { state, session, route } = ctx;
    if (!session.accounts) return html`${head(t('login.title'))}<p>${t('login.needless')} <a href=${target(route)}>${t('nav.overview')}</a></p>`;
    return html`<div class="login">${head(t('login.title'))}
      ${route.query.get('over') && !state.problem ? notice('info', html`<p>${t('login.over')}</p>`) : nothing}
      ${state.problem ? notice('error', html`<p>${state.problem}</p>`) : nothing}
      <div class="panel"><form @submit=${(event) => submit(event, ctx)}>
        <label class="field stacked"><span>${t('login.name')}</span><input type="text" name="name" required autocomplete="username" autocapitalize="none" spellcheck="false" autofocus></label>
        <label class="field stacked"><span>${t('login.password')}</span><input type="password" name="password" required autocomplete="current-password"></label>
        <button type="submit" class="primary" ?disabled=${state.busy} aria-busy=${state.busy ? 'true' : nothing}>${t('login.submit')}</button>
      </form></div></div>`;
  },
};
