// The price feed that tickcast is measured against: Express, Socket.IO with its documented options, a room per symbol,
// one `tick` per symbol and interval. One replica has no use for the Redis adapter, which would only make it slower.
import { createServer } from 'node:http';

import express from 'express';
import { Server } from 'socket.io';

import { HOST, PORT, SYMBOLS, UPDATE_INTERVAL } from './config.js';
import { nextTick } from './price-simulator.js';

const app = express();
app.get('/health', (_, response) => response.json({ status: 'ok' }));

const server = createServer(app);
const io = new Server(server, {
  cors: { origin: '*' },
  pingInterval: 25_000,
  pingTimeout: 60_000,
  maxHttpBufferSize: 1e6,
});

io.on('connection', (socket) => {
  // An array of symbols; the load tester may say it as tickcast's clients do: `{symbols}`.
  socket.on('subscribe', (payload, answer) => {
    const symbols = Array.isArray(payload) ? payload : payload?.symbols;
    if (Array.isArray(symbols)) socket.join(symbols);
    if (typeof answer === 'function') answer({ ok: true });
  });
});

setInterval(() => {
  for (const symbol of SYMBOLS) io.to(symbol).emit('tick', nextTick(symbol));
}, UPDATE_INTERVAL);

server.listen(PORT, HOST);
