const NUMBER = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });
const WHOLE = new Intl.NumberFormat("en-GB");
const PERCENT = new Intl.NumberFormat("en-GB", { style: "percent", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const number = (value) => NUMBER.format(value).replace("-", "\u2212");
export const whole = (value) => WHOLE.format(value);
export const percent = (value) => PERCENT.format(value).replace("-", "\u2212");
export const moment = (text) => MOMENT.format(new Date(text));
export const clock = (text) => CLOCK.format(new Date(text));

export function count(value, one, many = `${one}s`) {
  return `${whole(value)} ${value === 1 ? one : many}`;
}

/** ``zero_variance`` as zero variance. */
export function words(name) {
  return name.replaceAll("_", " ");
}

export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A text of any length, cut to a readable one. */
export function cut(text, most = 2_000) {
  const left = text.length - most;
  return left > 0 ? `${text.slice(0, most)}… (${count(left, "more character")})` : text;
}

/** The progress of a job, in one phrase. */
export function standing({ status, step, num_steps, queue_position }) {
  if (status === "queued" && queue_position) return `number ${whole(queue_position)} in the queue`;
  return `step ${whole(step)} of ${whole(num_steps)}`;
}
