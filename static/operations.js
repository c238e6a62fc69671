/** What the operators' page makes of what the server counted: rates and percentiles between two looks. */

/** @typedef {{up_to_ms: number | null, count: number}} Bucket */

/**
 * The percentile of what fell between two looks at a histogram, ms: the bound of the bucket that it lies in, so an upper
 * bound. Null when nothing fell in between, Infinity when it lies above all bounds.
 *
 * @param {Bucket[]} now
 * @param {Bucket[]} before
 * @param {number} part from 0 to 1
 */
export function percentile(now, before, part) {
  const counts = now.map(({ count }, i) => Math.max(0, count - (before[i]?.count ?? 0)));
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let so = 0;
  for (const [i, count] of counts.entries()) {
    so += count;
    if (so >= all * part) return now[i]?.up_to_ms ?? Infinity;
  }
  return Infinity;
}

/** @param {number | null} ms */
export function formatMs(ms) {
  if (ms === null) return '–';
  return ms === Infinity ? '> 10 s' : `≤ ${ms < 1 ? ms : Math.round(ms)} ms`;
}

/** @param {number} ms */
export function formatUptime(ms) {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1_000)} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 2_880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1_440)} d`;
}

/**
 * Everything counted in a tree of numbers, by its path, such as `errors protocol`.
 *
 * @param {unknown} tree
 * @param {string} [path]
 * @returns {[string, number][]}
 */
export function leaves(tree, path = '') {
  if (typeof tree === 'number') return [[path, tree]];
  if (typeof tree !== 'object' || tree === null) return [];
  return Object.entries(tree).flatMap(([name, branch]) => leaves(branch, `${path} ${name.replaceAll('_', ' ')}`.trim()));
}
