// What the tests of security try: how much of it, and the account of it.

/** `SECURITY=long`: as much as an evening's attacker would; otherwise what fits beside other tests. */
export const long = process.env.SECURITY === 'long';

/** How often something is tried. @param {number} briefly @param {number} at_length */
export const times = (briefly, at_length) => (long ? at_length : briefly);

/** What was tried, by name; printed when the file is over. */
export class Attempts {
  /** @param {string} title */
  constructor(title) {
    this.title = title;
    /** @type {Map<string, number>} */
    this.counts = new Map();
  }

  /** Counts something that was tried, and did no harm. @param {string} what @param {number} [number] */
  add(what, number = 1) {
    this.counts.set(what, (this.counts.get(what) ?? 0) + number);
  }

  print() {
    const all = [...this.counts.values()].reduce((sum, number) => sum + number, 0);
    const width = Math.max(...[...this.counts.values()].map((number) => `${number}`.length), 1);
    const rows = [...this.counts].map(([what, number]) => `  ${`${number}`.padStart(width)} ${what}`);
    console.log([`${this.title}: ${all} attempts, none got through`, ...rows].join('\n'));
  }
}
