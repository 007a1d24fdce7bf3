// SPDX-License-Identifier: MIT
// 95 % intervals of sampled figures: the formulas of mprofile/intervals.py at that one level, which explains them.
// tests/browser/test_intervals.py compares the two.

/** Of a normal number, which is within twice this of its mean with a probability of 95 %. */
const HALF = 0.979981992270027;
/** -ln(1 - 0.95): samples that can be expected where none is seen. */
const NONE = -Math.log1p(-0.95);
const EXTRA = (Math.sqrt(NONE) - HALF) ** 2;
const LOWER_PULL = 13.0;
const LOWER_OFFSET = 1.6;

export type Interval = [low: number, high: number];

/** Of bytes. sure: bytes seen; rate: mean bytes between samples, up to 1 if every block was recorded. */
export function sizeInterval(
  estimate: number,
  variance: number,
  samples: number,
  sure: number,
  rate: number,
): Interval {
  if (rate <= 1) return [estimate, estimate];
  if (samples <= 0) return [0, NONE * rate];
  const inferred = Math.max(0, estimate - sure);
  variance = Math.max(0, variance);
  const weight = inferred > 0 ? variance / inferred : rate;
  const largeness = weight > 0 ? Math.max(0, 1 - rate / weight) : 1;
  const low = sure + inferredLow(inferred, variance, largeness);
  const high = sure + inferredHigh(inferred, variance, rate);
  return [Math.max(sure, Math.min(low, estimate)), Math.max(high, estimate)];
}

/** Of blocks. pooledWeight: blocks that one unseen sample stands for; 0 if not known. */
export function countInterval(
  estimate: number,
  variance: number,
  samples: number,
  rate: number,
  pooledWeight: number,
): Interval {
  if (rate <= 1) return [estimate, estimate];
  let unseen = Math.max(0, pooledWeight);
  if (samples <= 0) {
    if (unseen === 0) unseen = oneByteWeight(rate);
    return [0, NONE * unseen];
  }
  const inferred = Math.max(0, estimate - samples);
  variance = Math.max(0, variance);
  const weight = inferred > 0 ? variance / inferred : 1;
  const largeness = weight > 1 ? 1 + 1 / (weight * Math.log1p(-1 / weight)) : 1;
  const low = samples + inferredLow(inferred, variance, largeness);
  const high = samples + inferredHigh(inferred, variance, Math.max(unseen, weight));
  return [Math.max(samples, Math.min(low, estimate)), Math.max(high, estimate)];
}

/** Of a change in bytes; samples: those that changed. */
export function sizeDifferenceInterval(
  difference: number,
  variance: number,
  samples: number,
  rate: number,
): Interval {
  return rate <= 1 ? [difference, difference] : around(difference, variance, samples, rate);
}

/** Of a change in blocks. */
export function countDifferenceInterval(
  difference: number,
  variance: number,
  samples: number,
  rate: number,
  pooledWeight: number,
): Interval {
  if (rate <= 1) return [difference, difference];
  let unseen = Math.max(0, pooledWeight);
  if (unseen === 0) {
    unseen = samples > 0 ? Math.sqrt(Math.max(0, variance) / samples) : oneByteWeight(rate);
  }
  return around(difference, variance, samples, unseen);
}

function oneByteWeight(rate: number): number {
  return -1 / Math.expm1(-1 / rate);
}

function inferredLow(inferred: number, variance: number, largeness: number): number {
  if (inferred <= 0 || variance <= 0) return 0;
  let n = (inferred * inferred) / variance;
  n += EXTRA - LOWER_PULL / (n + LOWER_OFFSET) - largeness;
  if (n <= HALF * HALF) return 0;
  const root = Math.sqrt(n) - HALF;
  return (variance / inferred) * root * root;
}

function inferredHigh(inferred: number, variance: number, unseen: number): number {
  if (unseen <= 0) return inferred;
  const mean = inferred + EXTRA * unseen;
  const spread = variance + EXTRA * unseen * unseen;
  const root = Math.sqrt((mean * mean) / spread) + HALF;
  return (spread / mean) * root * root;
}

function around(difference: number, variance: number, samples: number, unseen: number): Interval {
  if (samples <= 0) variance = 0; // What two equal sums leave is rounding.
  const z = 2 * HALF;
  const width = Math.sqrt(z * z * Math.max(0, variance) + (NONE * unseen) ** 2);
  return [difference - width, difference + width];
}
