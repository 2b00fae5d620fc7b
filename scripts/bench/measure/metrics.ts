/** The program's own figures, as Prometheus would read them. */

/** A histogram: how many observations are at most so large. */
export interface Histogram {
  readonly count: number;
  readonly sum: number;
  /** Ascending by `le`, cumulative; the last one's `le` is Infinity. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
}

/** Reads a histogram. @param labels as they are written, without `le`, for example `stage="build"` */
export function histogram(text: string, name: string, labels = ""): Histogram {
  const samples = text.split("\n").flatMap((line) => {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    const [, sample = "", written = "", value] = match ?? [];
    if (!sample.startsWith(name)) return [];
    const parts = written.split(",").filter((part) => part !== "");
    const bound = parts.find((part) => part.startsWith("le="))?.slice(4, -1);
    const others = parts.filter((part) => !part.startsWith("le=")).join(",");
    return others === labels ? [{ suffix: sample.slice(name.length), bound, value: Number(value) }] : [];
  });
  const only = (suffix: string) => samples.find((sample) => sample.suffix === suffix)?.value ?? 0;
  return {
    count: only("_count"),
    sum: only("_sum"),
    buckets: samples.filter(({ suffix }) => suffix === "_bucket")
      .map(({ bound, value }) => ({ le: bound === "+Inf" ? Infinity : Number(bound), count: value })),
  };
}

/** What was observed between two readings of one histogram. */
export function difference(later: Histogram, earlier: Histogram): Histogram {
  return {
    count: later.count - earlier.count,
    sum: later.sum - earlier.sum,
    buckets: later.buckets.map(({ le, count }) => ({
      le,
      count: count - (earlier.buckets.find((bucket) => bucket.le === le)?.count ?? 0),
    })),
  };
}

/** What was observed in several readings of one histogram, put together. */
export function sumOf(histograms: readonly Histogram[]): Histogram {
  const [first, ...rest] = histograms;
  if (first === undefined) return { count: 0, sum: 0, buckets: [] };
  return rest.reduce((sum, each) => ({
    count: sum.count + each.count,
    sum: sum.sum + each.sum,
    buckets: sum.buckets.map(({ le, count }) => ({
      le,
      count: count + (each.buckets.find((bucket) => bucket.le === le)?.count ?? 0),
    })),
  }), first);
}

/** A quantile as Prometheus' `histogram_quantile` gives it: interpolated within its bucket. */
export function histogramQuantile({ buckets, count }: Histogram, share: number): number {
  const rank = share * count;
  let below = { le: 0, count: 0 };
  for (const bucket of buckets) {
    if (bucket.count >= rank && bucket.count > below.count) {
      if (bucket.le === Infinity) return below.le;
      return below.le + (bucket.le - below.le) * (rank - below.count) / (bucket.count - below.count);
    }
    below = bucket;
  }
  return NaN;
}
