// Before the first paint, so that who chose a theme does not see the other one first.
try {
  const kept = JSON.parse(localStorage.getItem('tickcast-choices') ?? '{}');
  for (const name of ['theme', 'palette', 'density']) {
    if (typeof kept[name] === 'string') document.documentElement.dataset[name] = kept[name];
  }
} catch {
  // Nothing kept that can be read: the defaults hold.
}
