/** The lines of a body, even if its chunks split a character or a CRLF. Text after the last line end is
 * not a line. */
async function* lines(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of a CRLF, so it is kept.
      const whole = rest.split(/\r\n|\n|\r(?!$)/);
      rest = whole.pop();
      yield* whole;
    }
    if (rest.endsWith("\r")) yield rest.slice(0, -1);
  } finally {
    // Ends the request when the caller stops reading. A broken body cannot be cancelled.
    reader.cancel().catch(() => {});
  }
}

/** The events of a text/event-stream body, each as ``{ id, name, data }``; ``id`` is the last one sent,
 * which may have come with an earlier event. */
export async function* events(body) {
  let id = "";
  let name = "";
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield { id, name: name || "message", data: data.join("\n") };
      name = "";
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") id = value;
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
}
