/** Bulk requests, several in flight, with nothing around them. */
import { Agent, request } from "node:http";

/** Only whether anything failed: reading the answer must cost nothing. */
const QUERY = "?filter_path=errors";
/** The longest document that may come when a body is all but full. */
const SPARE_BYTES = 1024 * 1024;

/** Collects lines into bodies and posts each as soon as it is full. */
export class BulkPoster {
  readonly #agent: Agent;
  readonly #free: Buffer[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #body: Buffer;
  #length = 0;

  constructor(
    private readonly url: string,
    private readonly bytesARequest: number,
    private readonly requestsInFlight: number,
  ) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: requestsInFlight });
    this.#body = this.#newBody();
  }

  /** Adds lines of whole documents. */
  add(bytes: Buffer, start: number, end: number): void {
    this.#length += bytes.copy(this.#body, this.#length, start, end);
    if (this.#length >= this.bytesARequest) this.#post();
  }

  /** A promise of room while as many requests are in flight as may be; else null. @throws what a request threw */
  pressure(): Promise<void> | null {
    return this.#inFlight.size < this.requestsInFlight ? null : Promise.race(this.#inFlight);
  }

  /** Posts what is left and waits until all is acknowledged. @throws Error where a request failed */
  async flush(): Promise<void> {
    if (this.#length > 0) this.#post();
    await Promise.all(this.#inFlight);
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(): void {
    const body = this.#body;
    const posting = this.#send(body.subarray(0, this.#length)).then(() => {
      this.#inFlight.delete(posting);
      this.#free.push(body);
    });
    this.#inFlight.add(posting);
    this.#body = this.#free.pop() ?? this.#newBody();
    this.#length = 0;
  }

  #newBody(): Buffer {
    return Buffer.allocUnsafeSlow(this.bytesARequest + SPARE_BYTES);
  }

  #send(body: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/x-ndjson", "content-length": body.length };
      const exchange = request(
        this.url + QUERY,
        { method: "POST", agent: this.#agent, headers },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (part: string) => text += part);
          response.once("error", reject);
          response.once("end", () => {
            if (response.statusCode === 200 && text === '{"errors":false}') resolve();
            else reject(new Error(`_bulk was answered with ${response.statusCode}: ${text.slice(0, 500)}`));
          });
        },
      );
      exchange.once("error", reject);
      exchange.end(body);
    });
  }
}
