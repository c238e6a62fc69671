// A client that resumes: it knows how far it has each symbol, says so whenever it connects, and counts what it missed.

/** One client of a feed, through all of its connections. Give it a socket that has not connected yet. */
export class Resuming {
  /**
   * @param {any} socket of whatever version of the official client
   * @param {string[]} symbols
   */
  constructor(socket, symbols) {
    this.socket = socket;
    this.symbols = symbols;
    /** How far it has each symbol. @type {Map<string, number>} */
    this.last = new Map();
    /** The numbering that this is of. @type {string | undefined} */
    this.epoch = undefined;
    /** Numberings after the first, and who said so: with each of them it starts over. @type {{ before: string, epoch: string | null, server: string }[]} */
    this.turns = [];
    /** Times that it connected, and the replicas that answered. @type {string[]} */
    this.servers = [];
    /** Ticks that came live, and that were replayed after it had been away. */
    this.ticks = 0;
    this.replayed = 0;
    /** Numbers that never came, and that came again. */
    this.missed = 0;
    this.repeated = 0;
    /** Updates that others stood for. */
    this.conflated = 0;
    /** What it was told of its end, and when; why it was cut off, and when. @type {{ reconnectInMs: number, at: number }[]} */
    this.drains = [];
    /** @type {{ reason: string, at: number }[]} */
    this.cuts = [];
    /** The longest time without a tick of the first symbol (ms), and when the last one came. */
    this.silence = 0;
    /** @type {number | undefined} */
    this.heard = undefined;
    /** Refused requests. @type {any[]} */
    this.refusals = [];
    socket.on('connect', () => this.#subscribe());
    socket.on('tick', (/** @type {any} */ tick) => {
      this.ticks += 1;
      this.#take(tick);
    });
    socket.on('drain', (/** @type {any} */ { reconnectInMs }) => this.drains.push({ reconnectInMs, at: performance.now() }));
    socket.on('disconnect', (/** @type {string} */ reason) => this.cuts.push({ reason, at: performance.now() }));
  }

  /** How often there was another numbering. */
  get epochChanges() {
    return this.turns.length;
  }

  /** The replica that it is at; none while it is at none. */
  get server() {
    return this.socket.connected ? this.servers[this.servers.length - 1] : undefined;
  }

  #subscribe() {
    const { symbols, last, epoch } = this;
    const resume = epoch === undefined ? {} : { epoch, since: Object.fromEntries(last) };
    this.socket.emit('subscribe', { symbols, mode: 'tick', ...resume }, (/** @type {any} */ answer) => {
      if (!answer.ok) {
        this.refusals.push(answer);
        return;
      }
      if (epoch !== undefined && answer.epoch !== epoch) this.turns.push({ before: epoch, epoch: answer.epoch, server: answer.server.id });
      if (answer.epoch !== epoch) last.clear();
      this.epoch = answer.epoch;
      for (const { symbol, seq } of answer.snapshot) {
        // It had it once: what lies between did not come.
        this.missed += Math.max(0, seq - (last.get(symbol) ?? seq));
        last.set(symbol, seq);
      }
      for (const tick of answer.replay) {
        this.replayed += 1;
        this.#take(tick);
      }
      this.servers.push(answer.server.id);
    });
  }

  /** @param {{ symbol: string, seq: number, n?: number }} tick */
  #take({ symbol, seq, n = 1 }) {
    const last = this.last.get(symbol);
    if (symbol === this.symbols[0]) {
      const now = performance.now();
      if (this.heard !== undefined) this.silence = Math.max(this.silence, now - this.heard);
      this.heard = now;
    }
    if (last !== undefined && seq <= last) {
      this.repeated += 1;
      return;
    }
    this.conflated += n - 1;
    if (last !== undefined) this.missed += seq - last - n;
    this.last.set(symbol, seq);
  }
}
