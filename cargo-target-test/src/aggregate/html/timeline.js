// The timeline: a lane for each instance. Spans that are narrower than a pixel are drawn as one.

const timeline = {
  HEIGHT: 30,
  KINDS: ["deploy", "check", "prepare", "lease", "set-up", "call", "tear-down", "restore", "delete"],

  setUp() {
    if (data.instances.length === 0) {
      byId("lanes").append(make("p", { class: "soft" }, "No instance was used."));
      return;
    }
    this.all = [0, Math.max(data.length, 1)];
    this.view = [...this.all];
    this.shown = new Set();
    this.lanes = data.instances.map((instance) => this.lane(instance));
    this.events = (data.events ?? []).map((event) => this.eventLane(event));
    this.readout = make("div", { id: "readout", "aria-live": "polite" });
    this.axis = make("svg:svg", { height: 22, "aria-hidden": "true" });
    this.waits = make("svg:svg", { height: 44, role: "img" });
    const zoom = (factor) => () => this.zoom(factor);
    const tools = [
      ["−", "Zoom out", zoom(2)], ["+", "Zoom in", zoom(0.5)], ["←", "Earlier", () => this.pan(-0.5)], ["→", "Later", () => this.pan(0.5)],
      ["Whole run", "Show the whole run", () => this.look(this.all)],
    ];
    const lane = (label, svg) => make("div", { class: "lane" }, make("div", { class: "label soft" }, label), svg);
    byId("lanes").append(
      make("p", { class: "soft" }, this.summary()),
      make("div", { class: "tools", role: "toolbar", "aria-label": "Timeline" }, tools.map(([text, label, click]) => button(text, click, { "aria-label": label, title: label })), this.legend()),
      this.patterns(),
      lane("", this.axis),
      data.waits.length > 0 ? lane("Waiting cases", this.waits) : "",
      ...this.lanes.map(({ element }) => element),
      ...this.events.map(({ element }) => element),
      this.readout,
    );
    new ResizeObserver(() => this.draw()).observe(this.axis);
    filter.listeners.push(() => {
      this.shown = new Set(filter.shown);
      this.draw();
    });
  },

  /** Computes a lane: its spans in order, the gaps between them, and the time in use. */
  lane(instance) {
    const spans = instance.spans.map(([kind, start, end, index]) => ({ kind, start, end, index }));
    spans.sort((one, other) => one.start - other.start || this.KINDS.indexOf(one.kind) - this.KINDS.indexOf(other.kind));
    const idle = [];
    let [busy, end] = [0, spans[0]?.start ?? 0];
    for (const span of spans) {
      const gone = span.kind === "deploy" || span.kind === "check";
      if (span.start > end && !gone) idle.push({ kind: "idle", start: end, end: span.start });
      if (["set-up", "call", "tear-down"].includes(span.kind)) busy += span.end - span.start;
      end = Math.max(end, span.end);
    }
    const deleted = spans.some(({ kind, end: at }) => kind === "delete" && at === end);
    if (spans.length > 0 && !deleted && data.length > end) idle.push({ kind: "idle", start: end, end: data.length });
    const existed = Math.max((deleted ? end : data.length) - (spans[0]?.start ?? 0), 1);
    const calls = spans.filter(({ kind }) => kind === "call");
    const share = `${Math.round((100 * busy) / existed)} %`;
    const svg = make("svg:svg", { height: this.HEIGHT, tabindex: "0", role: "listbox", "aria-label": `${visible(instance.name)}, ${plural(calls.length, "attempt")}, ${share} of its time in use by tests` });
    const lane = { instance, spans, idle, calls, busy, existed, svg, at: -1 };
    svg.addEventListener("keydown", (event) => this.key(event, lane));
    svg.addEventListener("click", (event) => this.point(event, lane, true));
    svg.addEventListener("mousemove", (event) => this.point(event, lane, false));
    const label = make("div", { class: "label", title: visible(instance.name) }, make("span", { class: "name" }, visible(instance.name)), make("span", { class: "soft number" }, share));
    lane.element = make("div", { class: "lane" }, label, svg);
    return lane;
  },

  summary() {
    const sum = (key) => this.lanes.reduce((all, lane) => all + lane[key], 0);
    const [busy, existed] = [sum("busy"), sum("existed")];
    const waited = data.waits.reduce((all, [start, end]) => all + end - start, 0);
    return `${plural(this.lanes.length, "instance")} for ${time(existed)} in all, ${Math.round((100 * busy) / existed)} % of it in use by tests. Cases waited ${time(waited)} in all.`;
  },

  legend() {
    const kinds = { deploy: "deploy", prepare: "prepare, check", lease: "leased", "set-up": "set-up, tear-down", idle: "idle", restore: "restore", delete: "delete" };
    const used = new Set(["lease", "idle", ...this.lanes.flatMap(({ spans }) => spans.map(({ kind }) => (kind === "check" ? "prepare" : kind === "tear-down" ? "set-up" : kind)))]);
    const entry = (kind, text) => make("span", {}, make("svg:svg", { "aria-hidden": "true" }, make("svg:rect", { class: kind, width: 18, height: 12, rx: 2 })), text);
    const test = make("span", {}, make("svg:svg", { "aria-hidden": "true" }, make("svg:rect", { class: "call pass", width: 9, height: 12 }), make("svg:rect", { class: "call fail", x: 9, width: 9, height: 12 })), "test");
    return make("div", { class: "legend" }, test, Object.entries(kinds).filter(([kind]) => used.has(kind)).map(([kind, text]) => entry(kind, text)));
  },

  patterns() {
    const path = make("svg:path", { d: "M0 6L6 0" });
    const pattern = make("svg:pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, path);
    return make("svg:svg", { width: 0, height: 0, "aria-hidden": "true" }, make("svg:defs", {}, pattern));
  },

  look([from, to]) {
    const length = Math.min(Math.max(to - from, 1000), this.all[1]);
    const start = Math.min(Math.max(from, 0), this.all[1] - length);
    this.view = [start, start + length];
    this.draw();
  },
  zoom(factor) {
    const [from, to] = this.view;
    const half = ((to - from) * factor) / 2;
    this.look([(from + to) / 2 - half, (from + to) / 2 + half]);
  },
  pan(part) {
    const [from, to] = this.view;
    this.look([from + (to - from) * part, to + (to - from) * part]);
  },

  draw() {
    const width = this.axis.clientWidth || 900;
    const [from, to] = this.view;
    const x = (at) => ((at - from) / (to - from)) * width;
    this.drawAxis(x, width);
    this.drawWaits(x, width);
    for (const lane of this.lanes) fill(lane.svg, this.bars(lane, x, width));
    for (const lane of this.events) fill(lane.svg, this.eventBars(lane, x, width));
  },

  /** Makes the lane of an event of an orchestration. */
  eventLane({ name, case: index, spans }) {
    const text = `${visible(testOf(index).name)}: ${visible(name)}`;
    const svg = make("svg:svg", { height: 18, role: "img", "aria-label": `${text}, ${plural(spans.length, "run")}` });
    svg.addEventListener("click", () => detail.open([index]));
    const label = make("div", { class: "label", title: text }, make("span", { class: "name soft" }, visible(name)), make("span", { class: "soft number" }, `${spans.length}×`));
    return { spans, svg, element: make("div", { class: "lane event" }, label, svg) };
  },

  /** Draws the runs of an event: those of a verdict as one path. */
  eventBars({ spans }, x, width) {
    const paths = {};
    for (const [start, end, verdict] of spans) {
      const [left, right] = [Math.max(x(start), -2), Math.min(x(end), width + 2)];
      if (right < 0 || left > width) continue;
      const wide = Math.max(right - left, 1.5).toFixed(1);
      paths[verdict] = `${paths[verdict] ?? ""}M${left.toFixed(1)} 4h${wide}v10h-${wide}z`;
    }
    return Object.entries(paths).map(([verdict, d]) => make("svg:path", { class: `bar call ${verdict}`, d, "aria-hidden": "true" }));
  },

  drawAxis(x, width) {
    const [from, to] = this.view;
    const rough = (to - from) / Math.max(width / 110, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    const marks = [];
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      marks.push(make("svg:line", { class: "grid-line", x1: x(at), x2: x(at), y1: 16, y2: 22 }));
      if (x(at) < width - 40) marks.push(make("svg:text", { x: x(at) + 3, y: 14 }, at === 0 ? "0" : time(at)));
    }
    fill(this.axis, marks);
  },

  drawWaits(x, width) {
    const steps = data.waits.flatMap(([start, end]) => [[start, 1], [end, -1]]).sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    let [count, most] = [0, 1];
    // The most cases that wait in each pixel, and at its end.
    const pixels = new Map();
    for (const [at, change] of steps) {
      const pixel = Math.min(Math.max(Math.floor(x(at)), -1), Math.ceil(width));
      const peak = Math.max(pixels.get(pixel)?.peak ?? count, count + change);
      count += change;
      most = Math.max(most, count);
      pixels.set(pixel, { peak, end: count });
    }
    const y = (waiting) => (42 - (waiting / most) * 28).toFixed(1);
    let path = "M-1 42";
    for (const [pixel, { peak, end }] of pixels) path += `H${pixel}V${y(peak)}H${pixel + 1}V${y(end)}`;
    this.waits.setAttribute("aria-label", `At most ${plural(most, "case")} waited at a time`);
    fill(this.waits, make("svg:path", { class: "wait", d: `${path}H${width + 1}V42Z` }), make("svg:text", { x: 3, y: 12 }, `at most ${most}`));
  },

  /** Draws the spans of a lane: wide ones as elements of their own, all others of a look as one path. */
  bars(lane, x, width) {
    const bars = [];
    const ends = {};
    const paths = {};
    const few = this.shown.size < data.cases.length;
    for (const span of [...lane.idle, ...lane.spans]) {
      const [left, right] = [Math.max(x(span.start), -2), Math.min(x(span.end), width + 2)];
      if (right < 0 || left > width || right <= (ends[span.kind] ?? -3) + 0.4) continue;
      ends[span.kind] = right;
      const [top, height] = span.kind === "idle" || span.kind === "lease" ? [8, 14] : [4, 22];
      const wide = Math.max(right - left - 0.3, 0.8).toFixed(1);
      const isTest = span.kind === "call";
      const verdict = isTest && Number.isInteger(span.index) ? data.cases[span.index].verdict : "";
      const faded = Number.isInteger(span.index) && few && !this.shown.has(span.index) ? "faded" : "";
      const chosen = isTest && lane.calls[lane.at] === span;
      const look = `bar ${span.kind} ${verdict} ${faded} ${chosen ? "chosen" : ""}`;
      if (isTest && (chosen || wide > 14)) {
        const label = `${visible(testOf(span.index).name)}: ${VERDICTS[verdict].word.toLowerCase()}`;
        bars.push(make("svg:rect", { class: look, x: left.toFixed(1), y: top, width: wide, height, rx: 2, role: "option", "aria-selected": String(chosen), "aria-label": label }));
        if (wide > 18) bars.push(make("svg:text", { class: "on-bar", x: left + 5, y: 19, "aria-hidden": "true" }, VERDICTS[verdict].sign));
      } else paths[look] = `${paths[look] ?? ""}M${left.toFixed(1)} ${top}h${wide}v${height}h-${wide}z`;
    }
    const path = ([look, d]) => make("svg:path", { class: look, d, "aria-hidden": "true" });
    return [...Object.entries(paths).map(path), ...bars];
  },

  /** Tells what is at the pointer. */
  point(event, lane, click) {
    const [from, to] = this.view;
    const box = lane.svg.getBoundingClientRect();
    const at = from + ((event.clientX - box.left) / box.width) * (to - from);
    const span = lane.spans.findLast(({ start, end }) => start <= at && at <= end) ?? lane.idle.find(({ start, end }) => start <= at && at <= end);
    if (click && Number.isInteger(span?.index)) detail.open([span.index]);
    else this.tell(lane, span);
  },

  tell(lane, span) {
    if (!span) return fill(this.readout);
    const what = make("div", {}, `${visible(lane.instance.name)}: ${span.kind === "call" ? "test" : span.kind} for ${time(span.end - span.start)}, from ${time(span.start)}`);
    if (!Number.isInteger(span.index)) return fill(this.readout, what);
    const case_ = data.cases[span.index];
    return fill(this.readout, make("div", {}, sign(case_.verdict), " ", ...caseName(span.index), make("span", { class: "soft" }, ` · ${phaseText(case_)}`)), what);
  },

  key(event, lane) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    const span = lane.calls[lane.at];
    if (event.key === "Enter" && span) detail.open([span.index]);
    else if (steps[event.key] && lane.calls.length > 0) {
      lane.at = Math.min(Math.max(lane.at + steps[event.key], 0), lane.calls.length - 1);
      const { start, end } = lane.calls[lane.at];
      const [from, to] = this.view;
      if (start < from || end > to) this.look([start - (to - from) / 2, start + (to - from) / 2]);
      else this.draw();
      this.tell(lane, lane.calls[lane.at]);
    } else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 0.5 : 2);
    else return;
    event.preventDefault();
  },
};
