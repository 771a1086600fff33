import { byId } from "./dom.js";

/** Shows what is wrong with a field beside it; an empty ``message`` takes that back. */
export function mark(input, message) {
  const error = byId(`${input.id}-error`);
  const hint = byId(`${input.id}-hint`);
  error.textContent = message;
  error.hidden = !message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  const described = [message && error.id, hint?.id].filter(Boolean).join(" ");
  if (described) input.setAttribute("aria-describedby", described);
  else input.removeAttribute("aria-describedby");
}

/** What is wrong with a field is forgotten when it is edited. */
export function forgiving(input) {
  input.addEventListener("input", () => mark(input, ""));
}
