// Several deployments may share a host, each with its own key.
const NAME = `key of ${location.pathname}`;

let current = stored();

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage may be forbidden; the key then lasts as long as the page
  }
}

export function key() {
  return current;
}

export function keepKey(value) {
  current = value;
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // as above
  }
}

export function forgetKey() {
  keepKey("");
}
