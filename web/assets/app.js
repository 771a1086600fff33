import { AccessForm } from "./access.js";
import { about, ask, BadInput, examples, Failure, KeyRefused } from "./api.js";
import { byId, el } from "./dom.js";
import { key } from "./key.js";
import { QuestionForm } from "./question.js";
import { Result } from "./result.js";
import { day } from "./text.js";

const result = new Result();
const questionForm = new QuestionForm(run);
const accessForm = new AccessForm(tryKey);
let running = null; // the AbortController of the question being answered
let waitsForKey = null; // a question that needs a key

async function run(parameters) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  waitsForKey = null;
  result.waiting(parameters, () => stop(parameters));
  result.bringIntoView();
  try {
    for await (const { name, content } of ask(parameters, mine.signal)) {
      if (mine.signal.aborted) return;
      if (name === "search") result.searched(content);
      if (name === "read") result.opened(content);
      if (name === "answer") result.answered(content);
    }
  } catch (error) {
    if (!mine.signal.aborted) explain(error, parameters);
  } finally {
    if (running === mine) running = null;
  }
}

function stop(parameters) {
  running.abort();
  result.stopped(() => run(parameters));
}

function explain(error, parameters) {
  if (error instanceof BadInput) {
    result.clear();
    questionForm.reject(error.problems);
  } else if (error instanceof KeyRefused) {
    result.clear();
    waitsForKey = parameters;
    accessForm.refused(error.message);
  } else {
    result.failed(error, () => run(parameters));
    if (!(error instanceof Failure)) throw error;
  }
}

/** Requests the examples, which shows whether the key is right. */
async function tryKey() {
  const question = waitsForKey;
  if (!(await showExamples())) return;
  accessForm.hide();
  if (question) {
    run(question);
    result.focus();
  } else {
    byId("question").focus();
  }
}

/** False if the key is refused. */
async function showExamples() {
  try {
    const offered = await examples();
    byId("examples").querySelector("ul").replaceChildren(...offered.map(example));
    byId("examples").hidden = !offered.length;
  } catch (error) {
    if (error instanceof KeyRefused) {
      accessForm.refused(error.message);
      return false;
    }
    // The page works without examples; if the agent is unavailable, a question will show that.
  }
  return true;
}

function example(values) {
  const where = `${values.inbox_address}, ${day(values.query_date)}`;
  const button = el(
    "button",
    { type: "button", className: "example" },
    el("span", {}, values.question),
    el("span", { className: "note" }, where),
  );
  button.addEventListener("click", () => {
    questionForm.fill(values);
    run(questionForm.values());
    result.focus();
  });
  return el("li", {}, button);
}

async function start() {
  byId("query_date").value ||= today();
  let deployment;
  try {
    deployment = await about();
  } catch {
    // As above: a question will show that.
  }
  if (deployment) describe(deployment.checkpoint);
  if (deployment?.key_required && !key()) accessForm.show();
  else await showExamples();
}

function describe({ model, version, step }) {
  const footer = byId("about");
  footer.textContent = `Answered by ${model}, version ${version}, step ${step}`;
  footer.hidden = false;
}

function today() {
  const now = new Date();
  now.setMinutes(now.getMinutes() - now.getTimezoneOffset());
  return now.toISOString().slice(0, 10);
}

start();
