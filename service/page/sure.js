import { byId } from "./dom.js";

const dialog = byId("sure");

/** Asks for confirmation before something that cannot be undone. Escape means no. */
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

/** Withdraws the question: its subject is gone. */
export function notSure() {
  if (dialog.open) dialog.close("no");
}
