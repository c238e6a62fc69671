// Settings, from the environment.
export const HOST = process.env.HOST ?? '127.0.0.1';
export const PORT = Number(process.env.PORT ?? 3000);
/** ms between two ticks of a symbol. */
export const UPDATE_INTERVAL = Number(process.env.UPDATE_INTERVAL ?? 500);
export const SYMBOLS = (process.env.SYMBOLS ?? 'BTC,ETH,SOL,ADA,XRP').split(',');
