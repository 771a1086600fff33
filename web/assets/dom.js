/** An element with its children. Strings become text and never markup: mails are not trusted. */
export function el(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Says something to those who do not see the page change. */
export function announce(text) {
  byId("status").textContent = text;
}
