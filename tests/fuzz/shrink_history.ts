/** The smallest history that still fails: fewer rounds, fewer steps, fewer statements, one writer where one will do. */
import { shrinkList } from "./shrink.ts";
import { type History, isSavepoint, type Part, type Savepoint, type Statement, type Step } from "./work.ts";

/** Whether a history fails. */
export type Fails = (history: History) => Promise<boolean>;

/**
 * Shrinks a history that fails.
 *
 * @param goOn false ends the search with what is found by then
 */
export async function shrinkHistory(history: History, fails: Fails, goOn: () => boolean): Promise<History> {
  let found = history;
  const attempt = async (candidate: History): Promise<boolean> => {
    if (!goOn() || !(await fails(candidate))) return false;
    found = candidate;
    return true;
  };
  // One round instead of many, and one writer, make all that follows quicker and surer; neither may be possible.
  await attempt(inOneRound(found));
  await attempt(byOneWriter(found));
  await shrinkList(flat(found), (steps) => attempt(withSteps(found, steps)), goOn);
  await attempt(inOneRound(found));
  await attempt(byOneWriter(found));
  await shrinkList(found.before, (before) => attempt({ ...found, before }), goOn);
  // A statement by itself does without its transaction where it can.
  for (let place = 0; place < flat(found).length && goOn(); place++) await shrinkStep(place);
  await shrinkList(flat(found), (steps) => attempt(withSteps(found, steps)), goOn);
  return found;

  async function shrinkStep(place: number): Promise<void> {
    const step = flat(found)[place];
    if (step === undefined) return;
    const replaced = (parts: readonly Part[], end: Step["end"]) =>
      withSteps(
        found,
        flat(found).map((other, at) =>
          at === place ? { ...other, step: { ...other.step, parts, end } } : other
        ),
      );
    const { end } = step.step;
    let kept = await shrinkList(step.step.parts, (parts) => attempt(replaced(parts, end)), goOn);
    for (const part of kept) {
      if (!isSavepoint(part)) continue;
      const others = kept;
      const inside = (statements: readonly Statement[]): Part[] =>
        others.map((other) => other === part ? { ...part, statements } satisfies Savepoint : other);
      const bare = others.flatMap((other): readonly Part[] => other === part ? part.statements : [other]);
      if (await attempt(replaced(bare, end))) kept = bare;
      else {
        const statements = await shrinkList(
          part.statements,
          (fewer) => attempt(replaced(inside(fewer), end)),
          goOn,
        );
        kept = inside(statements);
      }
    }
    kept = await shrinkList(kept, (parts) => attempt(replaced(parts, end)), goOn);
    if (kept.length === 1 && kept.every((part) => !isSavepoint(part)) && end === "commit") {
      await attempt(replaced(kept, "none"));
    }
  }
}

/** A step with the round it belongs to. */
interface Placed {
  readonly round: number;
  readonly step: Step;
}

function flat(history: History): Placed[] {
  return history.rounds.flatMap((steps, round) => steps.map((step) => ({ round, step })));
}

/** The history with these steps only; rounds that have none left are gone. */
function withSteps(history: History, steps: readonly Placed[]): History {
  const rounds = [...Map.groupBy(steps, ({ round }) => round).values()];
  return { ...history, rounds: rounds.map((placed) => placed.map(({ step }) => step)) };
}

function inOneRound(history: History): History {
  return { ...history, rounds: [history.rounds.flat()] };
}

function byOneWriter(history: History): History {
  return { ...history, rounds: history.rounds.map((steps) => steps.map((step) => ({ ...step, writer: 0 }))) };
}
