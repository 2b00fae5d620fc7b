import process from "node:process";
import { MultiBar, type SingleBar } from "cli-progress";
import { formatCount } from "../status/figures.ts";
import { redirectLog } from "./logging.ts";

/** Bars on stderr; log lines appear above them until they are stopped. */
export class Bars {
  readonly #multiBar: MultiBar;
  readonly #restoreLog: () => void;

  /** @param format as cli-progress has it: a line with names in braces, of ours and of the payload */
  constructor(format: string) {
    const multiBar = new MultiBar({
      stream: process.stderr,
      format,
      formatValue: (value, _options, type) =>
        type === "percentage" ? String(value).padStart(3) : formatCount(value),
      barsize: 30,
      fps: 5,
      hideCursor: true,
      forceRedraw: true,
    });
    this.#multiBar = multiBar;
    this.#restoreLog = redirectLog((line) => multiBar.log(line));
  }

  /** Adds a bar that stands at nothing. */
  add(payload: object): SingleBar {
    return this.#multiBar.create(1, 0, payload);
  }

  /** Leaves the bars as they are. */
  stop(): void {
    this.#multiBar.update(); // prints log lines that still wait
    this.#multiBar.stop();
    this.#restoreLog();
  }
}
