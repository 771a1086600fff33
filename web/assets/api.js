import { key } from "./key.js";
import { events } from "./sse.js";

/** The question was not answered; asking again may help. */
export class Failure extends Error {
  constructor(title, message) {
    super(message);
    this.title = title;
  }
}

/** The question is invalid. ``problems``: each with a ``message`` and, if it has one, a ``field``. */
export class BadInput extends Error {
  constructor(problems) {
    super(problems.map(({ message }) => message).join(" "));
    this.problems = problems;
  }
}

/** The key is missing, or wrong if one was sent. */
export class KeyRefused extends Error {}

export async function about() {
  return (await request("about")).json();
}

export async function examples() {
  return (await request("examples")).json();
}

/** The agent's actions as they happen, each ``{ name, content }``, the answer last. */
export async function* ask(parameters, signal) {
  const response = await request("stream", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ parameters }),
    signal,
  });
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    throw new Failure("The agent is not available right now", "The server sent something else.");
  }
  for await (const event of contents(response.body, signal)) {
    if (event.name === "error") {
      throw new Failure("The agent could not finish", event.content.message);
    }
    yield event;
    if (event.name === "answer") return;
  }
  throw cutOff();
}

async function* contents(body, signal) {
  try {
    for await (const { name, data } of events(body)) yield { name, content: JSON.parse(data) };
  } catch (error) {
    throw signal.aborted ? error : cutOff();
  }
}

function cutOff() {
  return new Failure("The connection was lost", "It ended before the answer came.");
}

async function request(path, { headers = {}, ...options } = {}) {
  const sent = key() ? { ...headers, Authorization: `Bearer ${key()}` } : headers;
  let response;
  try {
    response = await fetch(path, { ...options, headers: sent, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Failure("The agent cannot be reached", "Check your connection and try again.");
  }
  if (response.ok) return response;
  throw refusal(response, await detailOf(response));
}

async function detailOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return undefined; // a proxy may answer with an HTML page
  }
}

function refusal(response, detail) {
  const { status } = response;
  const text = typeof detail === "string" ? detail : `The server answered with ${status}.`;
  if (status === 401) return new KeyRefused(text);
  if (status === 422 && Array.isArray(detail)) return new BadInput(detail.map(problem));
  if (status === 413 || status === 422 || status === 400) return new BadInput([{ message: text }]);
  const wait = Number(response.headers.get("retry-after"));
  const advice = wait > 0 ? ` Try again in ${wait === 1 ? "a second" : `${wait} seconds`}.` : "";
  return new Failure("The agent is not available right now", sentence(text) + advice);
}

/** One of FastAPI's problems, without the prefix that means nothing to a reader. */
function problem({ loc, msg }) {
  return { field: loc.at(-1), message: msg.replace(/^Value error, /, "") };
}

function sentence(text) {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
