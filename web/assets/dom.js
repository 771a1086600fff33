/** An element with its children. Strings become text, never markup: mails are untrusted. */
export function el(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Announces a change to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}
