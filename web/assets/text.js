const DAY = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "long",
  year: "numeric",
  timeZone: "UTC",
});

/** ``2001-05-03``, or a time on that day, as 3 May 2001 without line breaks; else the text itself. */
export function day(text) {
  const match = /^\d{4}-\d{2}-\d{2}/.exec(text ?? "");
  const date = match ? new Date(`${match[0]}T00:00:00Z`) : NaN;
  return Number.isNaN(Number(date)) ? (text ?? "") : DAY.format(date).replaceAll(" ", "\u00a0");
}

export function count(number, one, many = `${one}s`) {
  return number === 0 ? `no ${many}` : `${number} ${number === 1 ? one : many}`;
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  return whole < 60 ? `${whole}\u00a0s` : `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
}

export function took(seconds) {
  return seconds < 10 ? `${seconds.toFixed(1)}\u00a0s` : duration(seconds);
}

/** The terms of a search. */
export function wanted({ keywords, sender, recipient, sent_after, sent_before }) {
  const filters = [
    sender && `from ${sender}`,
    recipient && `to ${recipient}`,
    sent_after && `since ${day(sent_after)}`,
    sent_before && `before ${day(sent_before)}`,
  ].filter(Boolean);
  const words = (keywords ?? []).map((word) => `“${word}”`).join(" ");
  return [words, ...filters].filter(Boolean).join(", ") || "all mails";
}

/** The outcome of a search. */
export function outcomeOf({ hits, error }) {
  return error ? "failed" : count(hits ?? 0, "mail");
}

/** A text cut at its marks, each piece ``{ text, marked }``. Marks count code points. */
export function pieces(text, marks) {
  const points = Array.from(text);
  const cut = [];
  let at = 0;
  const take = (end, marked) => {
    if (end > at) cut.push({ text: points.slice(at, end).join(""), marked });
    at = Math.max(at, end);
  };
  for (const [start, end] of marks) {
    take(Math.min(start, points.length), false);
    take(Math.min(end, points.length), true);
  }
  take(points.length, false);
  return cut;
}
