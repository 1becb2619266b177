// Runs before the first paint, so that the page does not flash in the wrong theme.
(() => {
  let theme;
  try { theme = localStorage.getItem('theme'); } catch { /* storage is forbidden: the theme of the system */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
