import { byId } from "./dom.js";

const dialog = byId("sure");

/** Asks before something is done that cannot be taken back. Whoever presses Escape says no. */
export function sure({ title, text, no, yes }) {
  byId("sure-title").textContent = title;
  byId("sure-text").textContent = text;
  byId("sure-no").textContent = no;
  byId("sure-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** What was asked about is no longer there. */
export function notSure() {
  if (dialog.open) dialog.close("no");
}
