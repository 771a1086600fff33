import { events } from "./sse.js";
import { key } from "./key.js";

const PATIENCE_MS = 10_000;
const DELETION_MS = 60_000; // the worker is killed first
const SILENCE_MS = 60_000; // keep-alive comments come more often

/** No answer came. */
export class Unreachable extends Error {}

/** The token is missing or wrong. */
export class TokenRefused extends Error {}

/** The service refuses a request; ``message`` says why. ``waitMs``: how long to wait before a retry. */
export class Refused extends Error {
  constructor(message, status, waitMs) {
    super(message);
    this.status = status;
    this.waitMs = waitMs;
  }
}

export async function health(signal) {
  // A service that starts no jobs answers 503, with the same body.
  const answer = await (await ask("health", { signal }, [200, 503])).json().catch(() => null);
  if (answer?.version === undefined) throw new Unreachable("something else answers");
  return answer;
}

/** Models, running ones first, then the newest: ``{ models, total }``. */
export async function models(limit, offset, signal) {
  return (await ask(`models?order=newest&limit=${limit}&offset=${offset}`, { signal })).json();
}

export async function details(model, signal) {
  return (await ask(`models/${path(model)}`, { signal })).json();
}

export async function jobStatus(model, signal) {
  return (await ask(`train/${path(model)}/status`, { signal })).json();
}

export async function cancel(model) {
  return (await ask(`train/${path(model)}/cancel`, { method: "POST" })).json();
}

export async function remove(model) {
  await ask(`models/${path(model)}`, { method: "DELETE", patienceMs: DELETION_MS });
}

/** The events of a job after event ``last``, each ``{ id, name, data }``, until the connection ends for
 * whatever reason. Calls ``opened`` once it is open. */
export async function* stream(model, job, last, signal, opened) {
  const listening = new AbortController();
  const stop = () => listening.abort();
  signal.addEventListener("abort", stop);
  let silence = setTimeout(stop, SILENCE_MS);
  const heard = new TransformStream({
    transform(chunk, controller) {
      clearTimeout(silence);
      silence = setTimeout(stop, SILENCE_MS);
      controller.enqueue(chunk);
    },
  });
  try {
    const response = await ask(`train/${path(model)}/stream?job_id=${job}`, {
      headers: { Accept: "text/event-stream", "Last-Event-ID": String(last) },
      signal: listening.signal,
      patienceMs: 0,
    });
    opened();
    for await (const { id, name, data } of events(response.body.pipeThrough(heard))) {
      yield { id: Number(id), name, data: JSON.parse(data) };
    }
  } catch (error) {
    // A broken body raises a TypeError, one that is silent for too long an AbortError.
    if (!(error instanceof TypeError) && error.name !== "AbortError") throw error;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", stop);
  }
}

function path({ project, name }) {
  return `${encodeURIComponent(project)}/${encodeURIComponent(name)}`;
}

async function ask(url, { signal, headers = {}, patienceMs = PATIENCE_MS, ...options }, good) {
  const signals = [signal, patienceMs && AbortSignal.timeout(patienceMs)].filter(Boolean);
  const auth = key() ? { Authorization: `Bearer ${key()}` } : {};
  let response;
  try {
    response = await fetch(url, {
      ...options,
      headers: { ...headers, ...auth },
      signal: AbortSignal.any(signals),
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable("the service cannot be reached");
  }
  if (response.ok || good?.includes(response.status)) return response;
  const message = await detail(response);
  if (response.status === 401) throw new TokenRefused(message);
  const waitMs = 1000 * (Number(response.headers.get("retry-after")) || 0);
  throw new Refused(message, response.status, waitMs);
}

/** Why a request was refused: a text, or FastAPI's list of invalid fields. */
async function detail(response) {
  let why;
  try {
    why = (await response.json()).detail;
  } catch {
    // A proxy may answer with an HTML page.
  }
  if (Array.isArray(why)) return why.map(({ msg }) => msg).join("; ");
  return typeof why === "string" ? why : `the service answered with ${response.status}`;
}
