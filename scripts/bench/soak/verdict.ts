/** Whether memory is flat, and handles and connections are constant. */
import { median } from "../measure/statistics.ts";
import type { Sample } from "./samples.ts";

/** The mean memory of one round against that of all, and of the last third against the first, after the warm-up. */
const MOST_DEVIATION = 0.1;
/** Connections come and go with the work, so their most differs by so many from round to round. */
const TOLERATED = 3;

/** What was seen in one round of the work: all rounds do the same. */
export interface Round {
  readonly number: number;
  /** Resident memory, in bytes. */
  readonly mean: number;
  readonly least: number;
  readonly most: number;
  /** Of files, sockets and sessions: the median, and the most. */
  readonly files: readonly [number, number];
  readonly sockets: readonly [number, number];
  readonly sessions: readonly [number, number];
  readonly mostHeld: number;
}

/** Puts samples together by rounds. @param seconds that a round takes */
export function rounds(samples: readonly Sample[], seconds: number): Round[] {
  return [...Map.groupBy(samples, ({ at }) => Math.floor(at / seconds))].map(([number, of]) => {
    const resident = of.map((each) => each.resident);
    const held = of.map(({ mostHeld }) => mostHeld).filter((value) => !Number.isNaN(value));
    const counts = (part: (each: Sample) => number): [number, number] => {
      const values = of.map(part);
      return [median(values), Math.max(...values)];
    };
    return {
      number: number + 1,
      mean: mean(resident),
      least: Math.min(...resident),
      most: Math.max(...resident),
      files: counts(({ files }) => files),
      sockets: counts(({ sockets }) => sockets),
      sessions: counts(({ sessions }) => sessions),
      mostHeld: Math.max(...held.length === 0 ? [NaN] : held),
    };
  });
}

/** What is wrong, one sentence each. @param all rounds after the warm-up, three at least */
export function problems(all: readonly Round[], limit: number): string[] {
  const found: string[] = [];
  const overall = mean(all.map((round) => round.mean));
  for (const round of all) {
    const deviation = round.mean / overall - 1;
    if (Math.abs(deviation) > MOST_DEVIATION) {
      found.push(`In round ${round.number} resident memory is ${percent(deviation)} from the mean of all.`);
    }
  }
  const [first, last] = thirds(all);
  // What grows a little in each round never goes far from the mean of all.
  const growth = growthOf(all);
  if (Math.abs(growth) > MOST_DEVIATION) {
    found.push(
      `In the last third of the rounds mean resident memory is ${percent(growth)} from that of the first.`,
    );
  }
  for (const what of ["files", "sockets", "sessions"] as const) {
    const middle = (part: readonly Round[]) => median(part.map((round) => round[what][0]));
    const most = (part: readonly Round[]) => Math.max(...part.map((round) => round[what][1]));
    if (Math.abs(middle(last) - middle(first)) > 1) {
      found.push(`Of ${what} there were ${middle(first)} at first and ${middle(last)} at the end.`);
    }
    if (most(last) > most(first) + TOLERATED) {
      found.push(`Of ${what} there were ${most(first)} at most at first and ${most(last)} at the end.`);
    }
  }
  const held = Math.max(...all.map(({ mostHeld }) => mostHeld));
  if (!(held <= limit)) found.push(`The buffers held ${held} bytes, of ${limit}.`);
  return found;
}

/** How far the mean of each round is from that of all, at most. */
export function largestDeviation(all: readonly Round[]): number {
  const overall = mean(all.map((round) => round.mean));
  return Math.max(...all.map((round) => Math.abs(round.mean / overall - 1)));
}

/** How far the mean of the last third of the rounds is from that of the first. */
export function growthOf(all: readonly Round[]): number {
  const [first, last] = thirds(all).map((part) => mean(part.map((round) => round.mean)));
  return (last ?? NaN) / (first ?? NaN) - 1;
}

/** The first rounds, and the last. */
function thirds(all: readonly Round[]): readonly [readonly Round[], readonly Round[]] {
  const third = Math.max(1, Math.floor(all.length / 3));
  return [all.slice(0, third), all.slice(-third)];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
