import { byId } from "./dom.js";

/** Shows an error beside its field; an empty ``message`` removes it. */
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

/** Clears a field's error when the field is edited. */
export function forgiving(input) {
  input.addEventListener("input", () => mark(input, ""));
}
