import { announce, byId, el } from "./dom.js";
import { sourceList } from "./sources.js";
import { Steps } from "./steps.js";
import { count, day, duration, took } from "./text.js";

/** The part of the page below the form: the agent at work, then its answer. */
export class Result {
  constructor() {
    this.section = byId("result");
    this.steps = new Steps();
  }

  waiting(parameters, onStop) {
    this.parameters = parameters;
    this.began = performance.now();
    this.steps = new Steps();
    const elapsed = el("span", { className: "elapsed" }, duration(0));
    const stop = el("button", { type: "button", className: "stop", onclick: onStop }, "Stop");
    this.show("waiting", [
      el("div", { className: "bar" }, title("Working on it"), elapsed, stop),
      this.question(),
      this.steps.list,
    ]);
    this.timer = setInterval(() => {
      elapsed.textContent = duration(this.seconds);
    }, 1000);
    announce("Working on it.");
  }

  searched(search) {
    announce(this.steps.searched(search));
  }

  opened(mail) {
    announce(this.steps.opened(mail));
  }

  answered({ answer, success, reason, sources = [], turns, latency_ms }) {
    const parts = success
      ? [title("Answer"), this.question(), el("p", { className: "answer" }, answer)]
      : [title("No answer"), this.question(), el("p", {}, answer)];
    if (reason) parts.push(el("p", { className: "reason" }, reason));
    parts.push(sourceList(sources), this.work(`${count(turns, "turn")}, ${took(latency_ms / 1000)}`));
    this.show(success ? "answered" : "unanswered", parts);
    const cited = success ? ` ${count(sources.length, "source")}.` : ` ${reason ?? ""}`;
    announce(`${success ? "Answer" : "No answer"}: ${answer}${cited}`);
  }

  stopped(onRetry) {
    const text = `You stopped the agent after ${took(this.seconds)}.`;
    this.ended("stopped", "Stopped", text, "Ask again", onRetry);
  }

  failed({ title: heading, message }, onRetry) {
    this.ended("failed", heading ?? "Something went wrong", message, "Try again", onRetry);
  }

  ended(state, heading, text, label, onRetry) {
    const retry = el("button", { type: "button", onclick: onRetry }, label);
    this.show(state, [
      title(heading),
      this.question(),
      el("p", { className: "message" }, text),
      el("div", { className: "actions" }, retry),
      this.work(took(this.seconds)),
    ]);
    announce(`${heading}. ${text}`);
  }

  clear() {
    clearInterval(this.timer);
    this.section.hidden = true;
    this.section.replaceChildren();
    announce("");
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  question() {
    const { question, inbox_address, query_date } = this.parameters;
    const where = el("span", { className: "note" }, `${inbox_address}, ${day(query_date)}`);
    return el("p", { className: "asked" }, question, where);
  }

  /** The agent's actions, collapsed. */
  work(effort) {
    this.steps.finish();
    if (this.steps.empty) return null;
    const said = el("span", { className: "note" }, `${this.steps.summary}, ${effort}`);
    const summary = el("summary", {}, el("span", {}, "What the agent did"), said);
    return el("details", { className: "work" }, summary, this.steps.list);
  }

  show(state, parts) {
    // The focused button may be about to go: the focus then stays in this section.
    const focused = this.section.contains(document.activeElement);
    clearInterval(this.timer);
    this.section.dataset.state = state;
    this.section.replaceChildren(...parts.filter(Boolean));
    this.section.hidden = false;
    if (focused) this.focus();
  }

  focus() {
    byId("result-title").focus({ preventScroll: true });
  }

  /** On a small screen the form fills it; scroll so that the result is visible. */
  bringIntoView() {
    const { top } = this.section.getBoundingClientRect();
    if (top < 0 || top > window.innerHeight * 0.6) this.section.scrollIntoView();
  }
}

function title(text) {
  return el("h2", { id: "result-title", className: "title", tabIndex: -1 }, text);
}
