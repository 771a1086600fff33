import { byId } from "./dom.js";

// Services may lie side by side on one host, each with its own token.
const NAME = `token of ${location.pathname}`;

let current = stored();

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage may be forbidden; then the token lives as long as the page
  }
}

function keep(value) {
  current = value;
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // as above
  }
}

export function token() {
  return current;
}

/** The form for the token; it shows only when the service asks for one. */
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
        keep(value);
        onToken();
      }
    });
  }

  /** Whether nothing can be asked before a token is given. */
  get waits() {
    return !this.form.hidden && !current;
  }

  /** The service refused the token, or the lack of one. */
  refused() {
    if (this.waits) return;
    this.form.hidden = false;
    this.reject(current ? "This is not the token." : "");
    keep("");
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
