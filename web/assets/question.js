import { byId } from "./dom.js";
import { forgiving, mark } from "./fields.js";

const MISSING = {
  question: "Enter a question.",
  inbox_address: "Enter an inbox address.",
  query_date: "Choose a date.",
};
const NAMES = Object.keys(MISSING);

/** The question form. Calls ``onAsk`` with the three values once none is empty. */
export class QuestionForm {
  constructor(onAsk) {
    this.form = byId("question-form");
    this.general = byId("form-error");
    this.fields = NAMES.map(byId);
    this.fields.forEach(forgiving);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(onAsk);
    });
    this.form.addEventListener("keydown", (event) => this.submitByKey(event));
  }

  submitByKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (!this.fields.includes(event.target)) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  submit(onAsk) {
    const values = this.values();
    const empty = NAMES.filter((name) => !values[name]);
    this.reject(empty.map((name) => ({ field: name, message: MISSING[name] })));
    if (!empty.length) onAsk(values);
  }

  values() {
    return Object.fromEntries(this.fields.map(({ id, value }) => [id, value.trim()]));
  }

  fill(values) {
    for (const field of this.fields) field.value = values[field.id] ?? "";
    this.reject([]);
  }

  /** Shows each problem beside its field, or above the form, and focuses the first. */
  reject(problems) {
    const messages = (belongs) =>
      problems
        .filter(belongs)
        .map(({ message }) => message)
        .join(" ");
    this.general.textContent = messages(({ field }) => !NAMES.includes(field));
    this.general.hidden = !this.general.textContent;
    for (const input of this.fields) mark(input, messages(({ field }) => field === input.id));
    const wrong = this.fields.find((input) => input.hasAttribute("aria-invalid"));
    if (!this.general.hidden) this.general.focus();
    else wrong?.focus();
  }
}
