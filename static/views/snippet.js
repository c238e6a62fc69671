/** The few lines that connect a client of the reader's own to this very server. */
import { find } from './elements.js';

/** How long the button says that it copied, ms. */
const COPIED_MS = 1_500;

/** @param {{url: string, path: string, tickEvent: string}} server */
export function snippetView({ url, path, tickEvent }) {
  const code = find(document, '#snippet', HTMLElement);
  const copy = find(document, '#copy', HTMLButtonElement);
  const options = path === '/socket.io/' ? '' : `, { path: ${JSON.stringify(path)} }`;
  code.textContent = [
    `import { io } from 'socket.io-client';`,
    ``,
    `const socket = io(${JSON.stringify(url)}${options});`,
    `socket.on('connect', () => socket.emit('subscribe', '*'));`,
    `socket.on(${JSON.stringify(tickEvent)}, ({ symbol, price }) => console.log(symbol, price));`,
  ].join('\n');

  // Browsers offer the clipboard to secure origins only.
  copy.hidden = !navigator.clipboard;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(code.textContent ?? '').then(
      () => (copy.textContent = 'Copied'),
      () => (copy.textContent = 'Not allowed'),
    );
    setTimeout(() => (copy.textContent = 'Copy'), COPIED_MS);
  });
}
