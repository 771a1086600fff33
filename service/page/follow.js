import { Refused, stream, Unreachable } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;
export const ENDED = ["succeeded", "failed", "cancelled"];

/** The events of a job, each once and in order, until it ends. Reconnects after the last event when the
 * connection breaks. The last event is ``deleted`` if the model is.
 *
 * Calls ``lost`` with true when the connection breaks and with false when it is back. */
export async function* follow(model, job, signal, lost) {
  let last = 0;
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    let waitMs = 0;
    try {
      for await (const event of stream(model, job, last, signal, () => lost(false))) {
        pauseMs = FIRST_PAUSE_MS;
        if (event.name === "deleted") {
          yield event;
          return;
        }
        if (event.id <= last) continue;
        last = event.id;
        yield event;
        if (event.name === "status" && ENDED.includes(event.data.status)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status !== 404) waitMs = error.waitMs;
      else if (!(error instanceof Unreachable)) throw error;
    }
    if (signal.aborted) return;
    lost(true);
    await pause(Math.max(pauseMs, waitMs), signal);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
