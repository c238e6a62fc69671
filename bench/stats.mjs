// What is said of repeats: medians, spreads, ratios of pairs; and how the highest rate that is kept up is looked for.

/** The median. @param {number[]} values */
export function median(values) {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The median of repeats, with what lies beside it. `spread` is how far the lowest and the highest repeat are from each
 * other, as a share of the median: null for a single repeat, which says nothing of it.
 *
 * @param {number[]} values
 */
export function summary(values) {
  const middle = median(values);
  const min = Math.min(...values);
  const max = Math.max(...values);
  const spread = values.length < 2 ? null : max === min ? 0 : (max - min) / Math.abs(middle);
  return { median: middle, min, max, spread, repeats: values.length };
}

/**
 * The ratio of two figures that were measured next to each other: of each pair first, then the median. What slows the
 * machine for a while slows both, and goes out.
 *
 * @param {(number | undefined)[]} values by repeat; undefined where there is none
 * @param {(number | undefined)[]} against the same of the other; what has no partner is left out
 */
export function pairedRatio(values, against) {
  const pairs = values.map((value, repeat) => value / against[repeat]);
  return summary(pairs.filter(Number.isFinite));
}

/**
 * Whether two runs say the same of a figure: their medians are no farther from each other than both spreads together.
 * Of figures that are the same, three repeats each, one or two in a hundred are said to differ.
 *
 * @param {ReturnType<typeof summary>} one
 * @param {ReturnType<typeof summary>} other
 */
export function agree(one, other) {
  if (one.spread === null || other.spread === null) return null;
  const reach = one.spread * Math.abs(one.median) + other.spread * Math.abs(other.median);
  return Math.abs(one.median - other.median) <= reach;
}

/**
 * Looks for the last of the steps that is kept up: by doubling strides until one is not, then between the two. Steps
 * after one that is not kept up are taken not to be, either.
 *
 * @template Step
 * @param {Step[]} steps from the easiest to the hardest
 * @param {(step: Step) => Promise<boolean>} keeps whether it is kept up
 * @param {number} [start] where to begin: where an earlier search ended
 * @returns {Promise<number>} the index of the last that was kept up; -1 if none was
 */
export async function lastKept(steps, keeps, start = 0) {
  let kept = -1;
  let lost = steps.length;
  for (let index = start, stride = 1; kept + 1 < lost; ) {
    if (await keeps(steps[index])) kept = index;
    else lost = index;
    if (lost === steps.length) {
      index = Math.min(index + stride, steps.length - 1);
      stride *= 2;
    } else if (kept === -1) {
      index = Math.max(index - stride, 0);
      stride *= 2;
    } else {
      index = (kept + lost) >> 1;
    }
  }
  return kept;
}
