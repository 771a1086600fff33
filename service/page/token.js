import { byId } from "./dom.js";
import { forgetKey, key, keepKey } from "./key.js";

/** The form for the token, shown only when the service requires one. */
export class TokenForm {
  constructor(onToken) {
    this.form = byId("token-form");
    this.input = byId("token");
    this.error = byId("token-error");
    this.input.addEventListener("input", () => this.reject(""));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = this.input.value.trim();
      if (!value) this.reject("Enter the token.");
      else if (/[^\x21-\x7e]/.test(value)) this.reject("A token has no spaces or accented letters.");
      else {
        keepKey(value);
        onToken();
      }
    });
  }

  /** Whether a token is needed before anything else. */
  get waits() {
    return !this.form.hidden && !key();
  }

  /** The service refused the token, or that there was none. */
  refused() {
    if (this.waits) return;
    this.form.hidden = false;
    this.reject(key() ? "This token is wrong." : "");
    forgetKey();
    this.input.focus();
  }

  accepted() {
    this.form.hidden = true;
    this.input.value = "";
    this.reject("");
  }

  reject(message) {
    this.error.textContent = message;
    this.error.hidden = !message;
    if (message) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }
}
