/** What the server wrote into the page, over defaults that suit a page served by hand. */

const DEFAULTS = { socketPath: 'socket.io/', tickEvent: 'tick', batchEvent: 'ticks', version: '' };

/** @typedef {typeof DEFAULTS} Config */

/** @returns {Config} */
export function readConfig() {
  const config = { ...DEFAULTS };
  const written = document.getElementById('tickcast-config')?.textContent;
  if (!written) return config;
  try {
    const given = JSON.parse(written);
    for (const name of /** @type {(keyof Config)[]} */ (Object.keys(DEFAULTS))) {
      if (typeof given?.[name] === 'string' && given[name] !== '') config[name] = given[name];
    }
  } catch (error) {
    console.error('the page\'s configuration cannot be read', error);
  }
  return config;
}

/**
 * What a reader may ask for in the page's address: `?transport=polling` or `websocket`, for networks where one of them
 * does not get through; `?mode=tick` or `batch`.
 *
 * @param {string} search
 */
export function readQuery(search) {
  const query = new URLSearchParams(search);
  const transport = query.get('transport') ?? '';
  const mode = query.get('mode');
  return {
    transports: ['polling', 'websocket'].includes(transport) ? [transport] : undefined,
    mode: /** @type {'tick' | 'batch'} */ (mode === 'tick' ? 'tick' : 'batch'),
  };
}
