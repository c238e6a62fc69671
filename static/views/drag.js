/** Rows that are moved with the pointer, by their grips. From the keyboard Alt with an arrow does the same. */

/**
 * @param {HTMLElement} body
 * @param {(symbol: string, clientY: number) => void} moveTo puts the symbol to where the pointer is
 */
export function dragView(body, moveTo) {
  let symbol = '';

  body.addEventListener('pointerdown', (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!target.closest('.grip') || event.button !== 0) return;
    symbol = /** @type {HTMLElement | null} */ (target.closest('tr'))?.dataset.symbol ?? '';
    document.documentElement.toggleAttribute('data-dragging', symbol !== '');
    event.preventDefault();
  });
  // On the window: a row that is moved in the page would lose a pointer that it had captured.
  addEventListener('pointermove', (event) => {
    if (symbol) moveTo(symbol, event.clientY);
  });
  for (const end of ['pointerup', 'pointercancel']) {
    addEventListener(end, () => {
      symbol = '';
      document.documentElement.removeAttribute('data-dragging');
    });
  }
}
