import { el } from "./dom.js";
import { count, day, pieces } from "./text.js";

/** The mails that support an answer, each collapsed. */
export function sourceList(sources) {
  if (!sources.length) return null;
  return el(
    "div",
    { className: "sources" },
    el("h3", {}, sources.length === 1 ? "Source" : `${sources.length} sources`),
    ...sources.map(source),
  );
}

function source(mail) {
  const passages = count(mail.marks.length, "passage");
  return el(
    "details",
    { className: "source" },
    el(
      "summary",
      {},
      el("span", { className: "subject" }, mail.subject || "(no subject)"),
      el("span", { className: "note" }, `${mail.sender}, ${day(mail.date)}`),
    ),
    head(mail),
    el("div", { className: "body" }, ...pieces(mail.body, mail.marks).map(piece)),
    el("p", { className: "hint" }, mail.marks.length ? `${passages} marked` : "Nothing is marked"),
  );
}

function head({ sender, to, date, message_id }) {
  const rows = { From: sender, To: (to ?? []).join(", "), Date: day(date), Id: message_id };
  const cells = Object.entries(rows)
    .filter(([, text]) => text)
    .flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  return el("dl", {}, ...cells);
}

function piece({ text, marked }) {
  return marked ? el("mark", {}, text) : text;
}
