import { health, jobStatus, models, Refused, TokenRefused, Unreachable } from "./api.js";
import { announce, byId } from "./dom.js";
import { ModelList, PAGE } from "./list.js";
import { ModelView } from "./model.js";
import { clock, sentence, whole } from "./text.js";
import { TokenForm } from "./token.js";

const EVERY_MS = 3_000;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const JOB = /^[0-9a-f]{32}$/;

const tokenForm = new TokenForm(look);
const list = new ModelList(look);
const view = new ModelView(wantsToken, look);
let looking = new AbortController();
let timer = 0;
let reached = null; // when the service last answered
let away = false;

/** The model that the address names: ``#/project/model``, with an optional job. */
function route() {
  const [start, project = "", name = "", job, ...rest] = location.hash.split("/");
  const fits = start === "#" && NAME.test(project) && NAME.test(name) && !rest.length;
  if (!fits || (job !== undefined && !JOB.test(job))) return null;
  return { project, name, job, href: `#/${project}/${name}` };
}

function go() {
  const model = route();
  document.title = model ? `${model.name} · Training` : "Training";
  byId("board").dataset.shows = model ? "model" : "list";
  list.select(model);
  if (!tokenForm.waits) view.open(model);
}

/** Polls the service, now and then every few seconds. */
async function look() {
  clearTimeout(timer);
  looking.abort();
  const mine = new AbortController();
  looking = mine;
  let waitMs = EVERY_MS;
  try {
    await ask(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    waitMs = Math.max(waitMs, explain(error));
  }
  if (looking === mine && !document.hidden) timer = setTimeout(look, waitMs);
}

async function ask(signal) {
  describe(await health(signal));
  if (tokenForm.waits) return;
  const page = await models(PAGE, list.offset, signal);
  if (!byId("token-form").hidden || byId("board").hidden) admitted();
  if (!list.show(page)) {
    await ask(signal);
    return;
  }
  const { model } = view;
  if (!model) return;
  const named = (one) => one.project === model.project && one.model_name === model.name;
  const listed = page.models.find(named);
  if (listed) view.seen(listed);
  else if (["open", "failed"].includes(view.state)) view.seen(await jobStatus(model, signal));
}

/** The service accepts the token, or needs none. */
function admitted() {
  tokenForm.accepted();
  byId("board").hidden = false;
  go();
}

function wantsToken() {
  byId("board").hidden = true;
  tokenForm.refused();
}

function describe({ status: state, version, art_backend, device, queue_depth, running }) {
  if (away) announce("The service is back");
  [away, reached] = [false, new Date()];
  const works = state === "healthy" ? "" : "No jobs are started: the service’s log says why. ";
  const where = device ? `${art_backend} on ${device}` : art_backend;
  const load = `${whole(running)} running, ${whole(queue_depth)} queued`;
  tell(`${works}Version ${version} · ${where} · ${load}`, Boolean(works));
}

function tell(text, bad) {
  byId("health").textContent = text;
  byId("health").className = bad ? "lead bad" : "lead";
}

/** Shows why the service did not answer. Returns how many milliseconds to wait. */
function explain(error) {
  if (error instanceof TokenRefused) {
    wantsToken();
    return 0;
  }
  if (error instanceof Refused && error.status === 404) {
    view.gone("This model was deleted.");
    return 0;
  }
  if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
  const since = reached ? ` What is shown is from ${clock(reached)}.` : "";
  const what = error instanceof Refused ? "The service cannot answer now: " : "";
  tell(`${sentence(what + error.message)} Trying again.${since}`, true);
  if (!away) announce("The service cannot be reached");
  away = true;
  return error.waitMs ?? 0;
}

window.addEventListener("hashchange", () => {
  go();
  byId(view.model ? "model-title" : "models-title").focus();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
look();
