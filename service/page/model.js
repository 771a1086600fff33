import { cancel, details, Refused, remove, TokenRefused, Unreachable } from "./api.js";
import { Curve } from "./curve.js";
import { announce, byId } from "./dom.js";
import { ENDED, follow } from "./follow.js";
import {
  say,
  showFacts,
  showGroups,
  showJobs,
  showNotices,
  showRequest,
  showResult,
  showState,
} from "./panels.js";
import { Story } from "./story.js";
import { notSure, sure } from "./sure.js";
import { count, cut, sentence } from "./text.js";

const ORDER = ["queued", "running", ...ENDED];

function showLost(is) {
  byId("lost").hidden = !is;
}

/** The selected model: one of its jobs, live, and its actions. */
export class ModelView {
  model = null; // { project, name, job, href }
  state = "idle"; // or loading, open, failed, gone
  known = null; // the service's details of the model
  existed = false; // when it was selected
  #following = new AbortController();
  #drawing = false;

  /** ``onToken``: the service requires a token. ``onDone``: something was cancelled or deleted. */
  constructor(onToken, onDone) {
    [this.onToken, this.onDone] = [onToken, onDone];
    this.curve = new Curve();
    byId("cancel").addEventListener("click", () => this.#cancel());
    byId("delete").addEventListener("click", () => this.#delete());
  }

  async open(model) {
    this.#following.abort();
    const mine = new AbortController();
    this.#following = mine;
    notSure();
    const another = model?.href !== this.model?.href;
    [this.model, this.known, this.job] = [model, null, null];
    if (another) this.existed = false;
    this.state = model ? "loading" : "idle";
    byId("model").hidden = !model;
    if (!model) return;
    say("model-title", `${model.project} / ${model.name}`);
    if (another) this.#clear();
    try {
      this.known = await details(model, mine.signal);
      [this.state, this.existed] = ["open", true];
      const { jobs } = this.known;
      this.job = model.job ? jobs.find(({ job_id }) => job_id === model.job) : jobs[0];
      if (this.job) await this.#follow(mine.signal);
      else say("gone", "This model has no such job.");
    } catch (error) {
      if (!mine.signal.aborted) this.#failed(error);
    }
  }

  /** Updates the newest job of the model. */
  seen(newest) {
    if (this.state === "loading") return;
    const mine = this.known?.jobs[0];
    if (mine?.job_id !== newest.job_id) {
      this.open(this.model);
      return;
    }
    const { status, step, queue_position, started_at } = newest;
    Object.assign(mine, { status, step, queue_position, started_at });
    this.#draw();
  }

  gone(why) {
    this.#following.abort();
    [this.known, this.state] = [null, "gone"];
    notSure();
    this.#clear();
    say("gone", why);
  }

  #clear() {
    this.story = null;
    this.curve.clear();
    byId("notices").replaceChildren();
    say("gone", "");
    say("action-error", "");
    showLost(false);
    byId("known").hidden = true;
    say("state", "");
  }

  #failed(error) {
    if (error instanceof TokenRefused) this.onToken();
    else if (error instanceof Refused && error.status === 404)
      this.gone(this.existed ? "This model was deleted." : sentence(error.message));
    else if (error instanceof Refused || error instanceof Unreachable) {
      [this.known, this.state] = [null, "failed"]; // the next poll opens it again
      if (byId("known").hidden) say("gone", sentence(error.message));
    } else throw error;
  }

  async #follow(signal) {
    this.story = new Story();
    this.curve.clear();
    byId("notices").replaceChildren();
    say("gone", "");
    byId("known").hidden = false;
    showRequest(this.known.request);
    this.#draw();
    for await (const event of follow(this.model, this.job.job_id, signal, showLost)) {
      if (signal.aborted) return;
      if (event.name === "deleted") {
        this.gone("This model was deleted.");
        return;
      }
      const live = !ENDED.includes(this.job.status);
      this.story.take(event);
      this.#draw();
      if (live && ENDED.includes(this.story.status)) await this.#ended(signal);
    }
    showLost(false);
  }

  /** Gets the end and the result of a job that has ended. */
  async #ended(signal) {
    announce(`${this.model.project} / ${this.model.name}: ${this.story.status}`);
    this.known = await details(this.model, signal);
    this.job = this.known.jobs.find(({ job_id }) => job_id === this.job.job_id) ?? this.job;
    this.#draw();
  }

  /** Once per frame, for all events since the last one. */
  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      if (this.known && this.job && this.story) this.#show();
    });
  }

  #show() {
    const { story, known } = this;
    const job = this.#now();
    const [newest] = known.jobs;
    const isNewest = newest.job_id === job.job_id;
    const cancelling = newest.cancelling || (isNewest && story.cancelling);
    const active = !ENDED.includes(isNewest ? job.status : newest.status);
    showState(job, !ENDED.includes(job.status) && (job.cancelling || story.cancelling));
    showFacts(job, known);
    const error = story.error ?? job.error;
    say("error", error && sentence(cut(error)));
    showResult(story.result ?? job.result);
    showGroups(story);
    showNotices(story);
    showJobs(this.model, known.jobs, job.job_id);
    this.curve.show(story.points, ENDED.includes(job.status) ? job.step : job.num_steps);
    byId("cancel").hidden = !active || cancelling;
  }

  /** The job, by its events or the service's answers, whichever is newer. */
  #now() {
    const { status, step } = this.story;
    const further = ORDER.indexOf(status) > ORDER.indexOf(this.job.status);
    return {
      ...this.job,
      status: further ? status : this.job.status,
      step: Math.max(step ?? 0, this.job.step),
    };
  }

  async #cancel() {
    const { model } = this;
    const job = this.known.jobs[0];
    const waits = job.status === "queued";
    const agreed = await sure({
      title: `Cancel the training of ${model.project} / ${model.name}?`,
      text: waits
        ? "It gives up its place in the queue."
        : `It ends at step ${this.#now().step} or soon after, not at ${job.num_steps}. What is ` +
          "trained by then is kept, and another job can continue it.",
      no: "Let it train",
      yes: "Cancel training",
    });
    const cancelling = async () => Object.assign(job, await cancel(model));
    if (agreed) await this.#act(byId("cancel"), cancelling, "The training is being cancelled");
  }

  async #delete() {
    const { model } = this;
    const { jobs, step } = this.known;
    const active = !ENDED.includes(jobs[0].status);
    const agreed = await sure({
      title: `Delete ${model.project} / ${model.name}?`,
      text:
        `This permanently deletes ${count(jobs.length, "job")} with all events, the checkpoints and ` +
        `the adapter after ${count(Math.max(step, this.#now().step), "step")}.` +
        `${active ? " The training ends at once." : ""}`,
      no: "Keep it",
      yes: "Delete model",
    });
    if (!agreed) return;
    if (await this.#act(byId("delete"), () => remove(model), "The model was deleted")) {
      if (this.model === model) location.hash = "#/";
      byId("models-title").focus();
    }
  }

  /** False if the service refuses; the reason is shown. */
  async #act(button, action, done) {
    say("action-error", "");
    button.disabled = true;
    try {
      await action();
      announce(done);
      byId("model-title").focus({ preventScroll: true });
      return true;
    } catch (error) {
      if (error instanceof TokenRefused) this.onToken();
      else if (error instanceof Refused || error instanceof Unreachable) {
        say("action-error", sentence(error.message));
      } else throw error;
      return false;
    } finally {
      button.disabled = false;
      this.onDone();
    }
  }
}
