import { byId, el } from "./dom.js";
import { moment, standing, whole } from "./text.js";

export const PAGE = 50;

/** A page of models. Rows keep their place and the focus while their content changes. */
export class ModelList {
  offset = 0;
  #rows = new Map();

  constructor(onTurn) {
    this.list = byId("list");
    this.newer = byId("newer");
    this.older = byId("older");
    const turn = (by) => {
      this.offset = Math.max(0, this.offset + by);
      onTurn();
    };
    this.newer.addEventListener("click", () => turn(-PAGE));
    this.older.addEventListener("click", () => turn(PAGE));
  }

  /** False if the page no longer exists; ``offset`` is then that of the last page. */
  show({ models, total }) {
    if (!models.length && total) {
      this.offset = Math.floor((total - 1) / PAGE) * PAGE;
      return false;
    }
    const rows = models.map((model) => this.#row(model));
    this.#rows = new Map(rows.map((row) => [row.key, row]));
    this.#place(rows.map((row) => row.item));
    byId("none").hidden = total > 0;
    byId("pages").hidden = total <= PAGE;
    byId("shown").textContent =
      `${whole(this.offset + 1)}–${whole(this.offset + models.length)} of ${whole(total)}`;
    this.newer.disabled = this.offset === 0;
    this.older.disabled = this.offset + models.length >= total;
    return true;
  }

  select(model) {
    this.selected = model ? `${model.project}/${model.name}` : null;
    for (const row of this.#rows.values()) row.select(row.key === this.selected);
  }

  #row(model) {
    const key = `${model.project}/${model.model_name}`;
    const row = this.#rows.get(key) ?? new Row(key, model);
    row.select(key === this.selected);
    row.show(model);
    return row;
  }

  /** Moving an element costs it the focus, so those in place are not moved. */
  #place(items) {
    const there = this.list.children;
    if (items.length === there.length && items.every((item, at) => item === there[at])) return;
    const focused = document.activeElement;
    this.list.replaceChildren(...items);
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
  }
}

class Row {
  #shown = "";

  constructor(key, { project, model_name }) {
    this.key = key;
    this.name = el("span", { className: "name" }, model_name);
    this.state = el("span", { className: "state" });
    this.note = el("span", { className: "note" });
    this.progress = el("progress", { ariaHidden: "true" }); // the text beside it says the same
    this.standing = el("span", { className: "standing" });
    const parts = [this.name, this.state, this.note, this.progress, this.standing];
    const href = `#/${encodeURIComponent(project)}/${encodeURIComponent(model_name)}`;
    this.link = el("a", { href, className: "row" }, ...parts);
    this.item = el("li", {}, this.link);
  }

  select(is) {
    if (is) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }

  show(model) {
    const now = JSON.stringify(model);
    if (now === this.#shown) return;
    this.#shown = now;
    const { project, environment, status, step, num_steps, started_at, created_at } = model;
    const begun = started_at ? `started ${moment(started_at)}` : `requested ${moment(created_at)}`;
    this.state.textContent = status;
    this.state.dataset.state = status;
    this.note.textContent = `${project} · ${environment} · ${begun}`;
    this.progress.hidden = status === "queued" && step === 0;
    this.progress.max = num_steps;
    this.progress.value = Math.min(step, num_steps);
    this.standing.textContent = standing(model);
  }
}
