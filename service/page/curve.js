import { byId } from "./dom.js";
import { number, percent, whole } from "./text.js";

const HEIGHT = 220;
const EDGE = { left: 46, right: 12, top: 10, bottom: 26 };
const MOST_POINTS = 400;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Reward and success of each step, as lines. Pointer and arrow keys select a step to read. */
export class Curve {
  #points = [];
  #chosen = null; // the selected step; null is the last one

  constructor() {
    this.plot = byId("plot");
    this.reading = byId("reading");
    this.plot.addEventListener("pointermove", ({ clientX }) => {
      this.#choose(this.#at(clientX - this.plot.getBoundingClientRect().left));
    });
    for (const end of ["pointerleave", "blur"]) {
      this.plot.addEventListener(end, () => this.#choose(null));
    }
    this.plot.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.#draw()).observe(this.plot);
  }

  /** ``until``: the step where the axis ends. */
  show(points, until) {
    byId("curve").hidden = !points.length;
    [this.#points, this.until] = [points, until];
    this.#draw();
  }

  clear() {
    this.#chosen = null;
    this.show([], 0);
  }

  #press(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.#points.length) return;
    event.preventDefault();
    const at = this.#points.indexOf(this.#read());
    this.#choose(this.#points.at(Math.min(Math.max(at + by, 0), this.#points.length - 1)).step);
  }

  #choose(step) {
    this.#chosen = step;
    this.#draw();
  }

  #read() {
    const chosen = this.#points.find(({ step }) => step === this.#chosen);
    return chosen ?? this.#points.at(-1);
  }

  /** The step nearest to a place on the plot. */
  #at(x) {
    if (!this.#points.length) return null;
    const wanted = this.steps.value(x);
    return this.#points.reduce((best, point) =>
      Math.abs(point.step - wanted) < Math.abs(best.step - wanted) ? point : best,
    ).step;
  }

  #draw() {
    const width = this.plot.clientWidth;
    if (!this.#points.length || !width) return;
    const lines = ["reward", "success"].filter((name) => this.#has(name));
    const values = lines.flatMap((name) => this.#values(name));
    const first = this.#points[0].step;
    this.steps = scale([first, Math.max(this.until, first + 1)], [EDGE.left, width - EDGE.right]);
    const marks = ticks(least(values), most(values));
    this.heights = scale([marks[0], marks.at(-1)], [HEIGHT - EDGE.bottom, EDGE.top]);
    const drawn = svg(
      "svg",
      { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" },
      ...marks.map((mark) => this.#level(mark, width)),
      this.#label(this.steps.place(first), HEIGHT - 6, whole(first), "start"),
      this.#label(width - EDGE.right, HEIGHT - 6, `step ${whole(this.steps.domain[1])}`, "end"),
      ...lines.flatMap((name) => this.#line(name)),
    );
    drawn.setAttribute("aria-label", this.#summary());
    this.plot.replaceChildren(drawn);
    this.#tell(drawn);
  }

  #has(name) {
    return this.#points.some((point) => point[name] !== null);
  }

  #values(name) {
    return this.#points.map((point) => point[name]).filter((value) => value !== null);
  }

  #level(mark, width) {
    const y = this.heights.place(mark);
    const line = { x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y, class: "grid" };
    return svg("g", {}, svg("line", line), this.#label(EDGE.left - 8, y + 4, number(mark), "end"));
  }

  #label(x, y, text, anchor) {
    return svg("text", { x, y, "text-anchor": anchor }, text);
  }

  #line(name) {
    const points = thinned(this.#points.filter((point) => point[name] !== null), name);
    const places = points.map(([step, value]) => [
      this.steps.place(step).toFixed(1),
      this.heights.place(value).toFixed(1),
    ]);
    const [x, y] = places.at(-1);
    return [
      svg("polyline", { points: places.map((place) => place.join()).join(" "), class: name }),
      svg("circle", { cx: x, cy: y, r: 3.5, class: name }),
    ];
  }

  #tell(drawn) {
    const { step, reward, success } = this.#read();
    const parts = [`Step ${whole(step)}`];
    if (reward !== null) parts.push(`reward ${number(reward)}`);
    if (success !== null) parts.push(`success ${percent(success)}`);
    this.reading.ariaLive = this.#chosen === null ? "off" : "polite"; // do not announce every new step
    this.reading.textContent = parts.join(" · ");
    if (this.#chosen === null) return;
    const x = this.steps.place(step);
    drawn.append(
      svg("line", { x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "chosen" }),
    );
  }

  #summary() {
    const known = this.#points.filter(({ reward }) => reward !== null);
    if (!known.length) return "Steps without a reward";
    return `Mean reward: ${rewardOf(known[0])}, ${rewardOf(known.at(-1))}`;
  }
}

const rewardOf = ({ step, reward }) => `${number(reward)} at step ${whole(step)}`;

/** Maps a domain to a range of pixels and back. */
function scale([from, to], [start, end]) {
  const per = (end - start) / (to - from);
  return {
    domain: [from, to],
    place: (value) => start + (value - from) * per,
    value: (place) => from + (place - start) / per,
  };
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

/** Three to seven round numbers, evenly spaced, around two values. */
function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const spacing = [1, 2, 5, 10].map((by) => by * power).find((by) => span / by <= 5);
  const first = Math.floor(low / spacing);
  const last = Math.max(Math.ceil(high / spacing), first + 1);
  return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * spacing);
}

/** At most MOST_POINTS points: means of neighbours, and the last one as it is. */
function thinned(points, name) {
  const size = Math.ceil(points.length / MOST_POINTS);
  const means = [];
  for (let at = 0; at < points.length; at += size) {
    const part = points.slice(at, at + size);
    const mean = (pick) => part.reduce((sum, point) => sum + point[pick], 0) / part.length;
    means.push([mean("step"), mean(name)]);
  }
  if (size > 1) means.push([points.at(-1).step, points.at(-1)[name]]);
  return means;
}
