import { byId } from "./dom.js";
import { forgiving, mark } from "./fields.js";
import { forgetKey, keepKey, key } from "./key.js";

/** The form for the key, shown only when one is required. */
export class AccessForm {
  constructor(onKey) {
    this.form = byId("key-form");
    this.input = byId("key");
    forgiving(this.input);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(onKey);
    });
  }

  submit(onKey) {
    const value = this.input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) {
      this.reject(value ? "A key has no spaces and no accented letters." : "Enter the key.");
      return;
    }
    keepKey(value);
    onKey();
  }

  show() {
    this.form.hidden = false;
  }

  hide() {
    this.form.hidden = true;
    this.input.value = "";
    mark(this.input, "");
  }

  /** The key was refused, or there was none. */
  refused(message) {
    this.show();
    this.reject(key() ? message : "");
    forgetKey();
  }

  reject(message) {
    mark(this.input, message);
    this.input.focus();
  }
}
