import { count } from "./text.js";

const MOST_NOTICES = 200;

/** The sum of a job's events. */
export class Story {
  points = []; // one for each step: { step, reward, success }
  notices = []; // the newest MOST_NOTICES: { id, at, text, warns }
  omitted = 0;
  status = null;
  cancelling = false;
  error = null;
  result = null;
  step = null;
  groups = null; // of the last step
  totals = { submitted: 0, trainable: 0, trajectories: 0, trained: 0, dropped: {} };
  firstError = "";

  take({ id, name, data }) {
    if (name === "step") this.#step(data);
    else if (name === "status") this.#status(id, data);
    else this.#notice(id, data.at, this.#words(name, data), name === "warning");
  }

  #step({ step, metrics, groups }) {
    this.step = step;
    const reward = metrics["train/reward"] ?? null;
    this.points.push({ step, reward, success: metrics["train/success"] ?? null });
    this.groups = groups;
    for (const name of ["submitted", "trainable", "trajectories", "trained"]) {
      this.totals[name] += groups[name];
    }
    const { dropped } = this.totals;
    for (const [reason, number] of Object.entries(groups.dropped)) {
      dropped[reason] = (dropped[reason] ?? 0) + number;
    }
    this.firstError ||= groups.first_error;
  }

  #status(id, { at, status, error, result }) {
    this.status = status;
    this.error = error ?? null;
    this.result = result ?? null;
    this.#notice(id, at, status[0].toUpperCase() + status.slice(1), false);
  }

  #words(name, data) {
    if (name === "cancelling") {
      this.cancelling = true;
      return "It is being cancelled";
    }
    if (name === "resumed") {
      return `Worker ${data.attempt} took over after ${count(data.after_step, "step")}: ${data.reason}`;
    }
    if (name === "warning") return data.message;
    if (name === "examples") return `${count(data.kept, "example")} written by ${data.model}`;
    if (name === "evaluation") return `Evaluated on ${count(data.scenarios, "held-out scenario")}`;
    const { at, ...rest } = data;
    return `${name} ${JSON.stringify(rest)}`;
  }

  #notice(id, at, text, warns) {
    this.notices.push({ id, at, text, warns });
    if (this.notices.length > MOST_NOTICES) {
      this.notices.shift();
      this.omitted += 1;
    }
  }
}
