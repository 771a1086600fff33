import { el } from "./dom.js";
import { count, day, outcomeOf, wanted } from "./text.js";

/** The agent's actions so far, as a growing list. */
export class Steps {
  constructor() {
    this.now = el("li", { className: "now" }, "Reading the question");
    this.list = el("ol", { className: "steps" }, this.now);
    this.searches = 0;
    this.reads = 0;
  }

  /** Whether the agent, now finished, did nothing. */
  get empty() {
    return !this.list.childElementCount;
  }

  get summary() {
    return `${count(this.searches, "search", "searches")}, ${count(this.reads, "mail")} opened`;
  }

  /** Adds a step and returns it in words. */
  searched(search) {
    this.searches += 1;
    const outcome = outcomeOf(search);
    this.add("Searched", wanted(search), outcome, search.error ?? "");
    const next = search.hits ? "Looking at the results" : "Thinking of another search";
    this.now.textContent = next;
    return `Searched ${wanted(search)}: ${outcome}`;
  }

  opened(mail) {
    return mail.found ? this.openedMail(mail) : this.missedMail(mail);
  }

  openedMail({ subject, sender, date }) {
    this.reads += 1;
    const title = subject || "(no subject)";
    this.add("Opened", title, "", [sender, day(date)].filter(Boolean).join(", "));
    this.now.textContent = "Reading the mail";
    return `Opened ${title}`;
  }

  missedMail({ message_id }) {
    this.add("Asked for", message_id, "not found", "");
    this.now.textContent = "Trying something else";
    return `Asked for ${message_id}: not found`;
  }

  add(verb, what, outcome, note) {
    const text = el("span", { className: "what" }, what);
    if (note) text.append(el("span", { className: "note" }, note));
    const step = el("li", {}, el("span", { className: "verb" }, verb), " ", text);
    if (outcome) step.append(" ", el("span", { className: "outcome" }, outcome));
    this.now.before(step);
  }

  finish() {
    this.now.remove();
  }
}
