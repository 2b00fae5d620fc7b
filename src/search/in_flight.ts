import { isLeftOut } from "../fault_points.ts";

/**
 * Which documents are in a request right now. A document is never in two requests at once, so an older build of it
 * cannot overtake a newer one on its way.
 *
 * All ids of a request are taken in one step or none, so two requests cannot wait for each other. Requests that want the
 * same document get it in order of arrival: a request that waits keeps later ones from taking its ids.
 */
export class InFlight {
  /** Document → the requests that hold or want it, in order of arrival; the first holds it when all its ids are first. */
  readonly #queues = new Map<string, Request[]>();
  #held = 0;

  /** How many documents are in requests now. */
  get held(): number {
    return this.#held;
  }

  /**
   * Waits until none of the documents is in another request, then takes them all.
   *
   * @param ids may name a document more than once
   * @returns gives them back; further calls do nothing
   * @throws the signal's reason, where it is or becomes aborted
   */
  async acquire(ids: Iterable<string>, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    if (isLeftOut("in-flight-lock")) return () => {};
    const request: Request = { ids: new Set(ids), blocked: 0, granted: null };
    for (const id of request.ids) {
      const queue = this.#queues.get(id);
      if (queue === undefined) this.#queues.set(id, [request]);
      else {
        queue.push(request);
        request.blocked++;
      }
    }
    if (request.blocked > 0) await this.#wait(request, signal);
    this.#held += request.ids.size;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#held -= request.ids.size;
      this.#leave(request);
    };
  }

  #wait(request: Request, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#leave(request);
        reject(signal?.reason);
      };
      request.granted = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Takes a request out of all queues, and wakes those that stand first everywhere now. */
  #leave(request: Request): void {
    for (const id of request.ids) {
      const queue = this.#queues.get(id);
      if (queue === undefined) continue;
      const place = queue.indexOf(request);
      queue.splice(place, 1);
      const first = queue[0];
      if (first === undefined) this.#queues.delete(id);
      else if (place === 0 && --first.blocked === 0) first.granted?.();
    }
  }
}

interface Request {
  readonly ids: ReadonlySet<string>;
  /** In how many queues another request stands first. */
  blocked: number;
  granted: (() => void) | null;
}
