import { byId, el } from "./dom.js";
import { clock, count, cut, moment, number, percent, sentence, standing, whole, words } from "./text.js";

const SHOWN_EXAMPLES = 5;

/** Shows a text in an element; hides the element if there is none. */
export function say(id, text) {
  byId(id).textContent = text ?? "";
  byId(id).hidden = !text;
}

export function showState(job, cancelling) {
  say("state", cancelling ? "being cancelled" : job.status);
  byId("state").dataset.state = job.status;
  byId("steps").textContent = standing(job);
  byId("progress").max = job.num_steps;
  byId("progress").value = Math.min(job.step, job.num_steps);
}

export function showFacts(job, { environment, base_model }) {
  const times = [
    `requested ${moment(job.created_at)}`,
    job.started_at && `started ${moment(job.started_at)}`,
    job.ended_at && `ended ${moment(job.ended_at)}`,
    job.attempts > 1 && count(job.attempts, "worker"),
  ];
  say("facts", [environment, base_model, ...times].filter(Boolean).join(" · "));
}

export function showResult(result) {
  const box = byId("result");
  box.hidden = !result;
  if (!result) return;
  const { minutes, gpu_hours: gpu, cost_usd: cost } = result.spent;
  const spent = [
    `${number(minutes)} minutes`,
    gpu > 0 && `${number(gpu)} GPU hours`,
    cost > 0 && `${number(cost)} US dollars`,
  ].filter(Boolean);
  const facts = {
    "Stopped by": words(result.stopped_by),
    Spent: spent.join(", "),
    Adapter: result.adapter,
    Report: result.report,
  };
  box.replaceChildren(
    ...(result.evaluation ? gained(result.evaluation) : []),
    el("dl", {}, ...pairs(facts)),
  );
}

const share = (value) => (value === null ? "unknown" : percent(value));
const points = (value) => `${value > 0 ? "+" : ""}${number(100 * value)}`;

/** The gain of training on held-out scenarios. */
function gained({ base, trained, gain, interval, confidence, scenarios, reason, report }) {
  const parts = [` of ${count(scenarios, "held-out scenario")} solved`];
  if (gain !== null) parts.push(`${points(gain)} points`);
  if (interval !== null) {
    const [low, high] = interval.map(points);
    parts.push(`${percent(confidence)} interval ${low} to ${high}`);
  }
  const change = `${share(base.sampled)} → ${share(trained.sampled)}`;
  return [
    el("p", { className: "gain" }, el("strong", {}, change), parts.join(", ")),
    el("p", { className: "hint" }, `${sentence(reason)} Report: ${report}`),
  ];
}

export function showGroups({ groups: last, totals, firstError }) {
  say("first-error", firstError && `First error of a rollout: ${cut(firstError)}`);
  byId("groups").hidden = !last;
  if (!last) return;
  const rows = [
    ["Groups", "submitted"],
    ["Groups with something to learn", "trainable"],
    ["Trajectories", "trajectories"],
    ["Trained on", "trained"],
  ].map(([title, name]) => row(title, last[name], totals[name]));
  const reasons = Object.keys(totals.dropped).toSorted();
  const dropped = reasons.map((reason) =>
    row(`Dropped: ${words(reason)}`, last.dropped[reason] ?? 0, totals.dropped[reason]),
  );
  byId("groups").tBodies[0].replaceChildren(...rows, ...dropped);
}

function row(title, ...numbers) {
  const cells = numbers.map((value) => el("td", {}, whole(value)));
  return el("tr", {}, el("th", { scope: "row" }, title), ...cells);
}

export function showNotices({ notices, omitted }) {
  byId("told").hidden = !notices.length;
  say("omitted", omitted ? `${count(omitted, "earlier one")} not shown` : "");
  const list = byId("notices");
  const shown = Number(list.lastElementChild?.dataset.id ?? 0);
  list.append(...notices.filter(({ id }) => id > shown).map(notice));
  while (list.childElementCount > notices.length) list.firstElementChild.remove();
}

function notice({ id, at, text, warns }) {
  const item = el("li", {}, el("time", { dateTime: at }, clock(at)), el("span", {}, cut(text)));
  item.dataset.id = id;
  if (warns) item.className = "warns";
  return item;
}

export function showJobs(model, jobs, chosen) {
  const list = byId("jobs").querySelector("ol");
  const now = JSON.stringify([model.href, chosen, jobs.map((job) => [job.job_id, standing(job), job.status])]);
  if (list.dataset.shown === now) return; // one of its links may have the focus
  list.dataset.shown = now;
  const items = jobs.map((job, at) => {
    const href = at ? `${model.href}/${job.job_id}` : model.href;
    const title = `Job ${jobs.length - at}`;
    const link = el("a", { href }, title);
    if (job.job_id === chosen) link.setAttribute("aria-current", "true");
    const note = ` · ${job.status} · ${standing(job)} · requested ${moment(job.created_at)}`;
    return el("li", {}, link, note);
  });
  list.replaceChildren(...items);
}

/** The request, without the fields left unset. */
export function showRequest(request) {
  const { training_data: examples, ...rest } = request;
  const given = Object.entries(rest).filter(([, value]) => value !== null && plain(value));
  const shown = Object.fromEntries(given.map(([name, value]) => [name, plain(value)]));
  byId("request").replaceChildren(...pairs(shown), ...(examples ? listed(examples) : []));
}

function plain(value) {
  if (typeof value !== "object" || value === null) return String(value);
  const entries = Object.entries(value).filter(([, part]) => part !== null);
  return entries.map(([name, part]) => `${name}: ${JSON.stringify(part)}`).join("\n");
}

function listed(examples) {
  const first = examples.slice(0, SHOWN_EXAMPLES).map(({ prompt, answer }) => {
    const shown = cut(prompt, 500);
    return el("li", {}, answer === null ? shown : `${shown} → ${cut(answer, 500)}`);
  });
  const more = examples.length - first.length;
  if (more > 0) first.push(el("li", { className: "note" }, `and ${count(more, "more", "more")}`));
  return [el("dt", {}, "training_data"), el("dd", {}, el("ol", {}, ...first))];
}

function pairs(facts) {
  return Object.entries(facts).flatMap(([name, value]) =>
    value ? [el("dt", {}, name), el("dd", {}, cut(value))] : [],
  );
}
