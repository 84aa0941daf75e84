// The lists: failed, infra, flaky, skipped and slowest cases, changes, metrics, and the run itself.

const lists = {
  /** The number of entries that a list shows at first. */
  FIRST: 10,

  setUp() {
    filter.listeners.push(() => {
      fill(byId("attention"), this.attention());
      fill(byId("lists"), this.slowest(), this.byReason("skipped", "Skipped", "skip"), this.metrics(), this.run());
    });
  },

  section(id, title, ...children) {
    return make("section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, title), children);
  },

  /** A list that grows on demand. */
  list(entries, entry, first = this.FIRST) {
    const list = make("ul", { class: "list" });
    const more = button("", () => grow(500), {});
    let count = 0;
    const grow = (by) => {
      list.append(...entries.slice(count, count + by).map(entry));
      count = Math.min(count + by, entries.length);
      more.textContent = `Show ${(entries.length - count).toLocaleString("en")} more`;
      more.hidden = count === entries.length;
    };
    grow(first);
    return [list, more];
  },

  entry(index, note, ...rest) {
    const { verdict, took, reason } = data.cases[index];
    return make("li", { class: verdict }, sign(verdict), make("span", {}, caseButton(index), note && [" ", note]),
      make("span", { class: "number soft" }, took ? time(took) : undefined), reason && make("span", { class: "note text" }, visible(reason)), rest);
  },

  attention() {
    const is = (...verdicts) => filter.shown.filter((index) => verdicts.includes(data.cases[index].verdict));
    const isNew = new Set(data.changes?.failing ?? []);
    const failed = (index) => this.entry(index, isNew.has(index) && make("span", { class: "tag new" }, "newly failing"));
    const flaky = (index) => this.entry(index, make("span", { class: "tag" }, `passed on attempt ${data.cases[index].attempts}`));
    const warned = filter.shown.filter((index) => data.cases[index].findings && ["pass", "expected", "skip"].includes(data.cases[index].verdict));
    const finding = (index) => this.entry(index, make("span", { class: "tag" }, "health check"));
    const parts = [
      ["failed", "Failed", is("fail", "crash"), failed], ["infra", "Infra: no usable target", is("infra"), (index) => this.entry(index)],
      ["unfinished", "Unfinished", is("unfinished"), (index) => this.entry(index)], ["flaky", "Flaky", is("flaky"), flaky], ["findings", "Passed with findings", warned, finding],
    ];
    const subtests = this.flakySubtests();
    return [
      ...parts.filter(([, , cases]) => cases.length > 0).map(([id, title, cases, entry]) => this.section(id, `${title} (${cases.length.toLocaleString("en")})`, this.list(cases, entry))),
      subtests.length > 0 && this.section("flaky-subtests", `Flaky sub-results (${subtests.length})`, this.list(subtests, ([row, index]) => make("li", { class: "flaky" }, sign("flaky"),
        make("span", {}, make("b", { class: "name" }, visible(row.path.join(" / "))), " of ", caseButton(index))))),
      this.byReason("not-run", "Not run", "not-run"),
      this.changes(),
    ];
  },

  flakySubtests() {
    const shown = new Set(filter.shown);
    return data.subtests.flatMap((row) => row.cells.filter(([index, verdict]) => verdict === "flaky" && shown.has(index)).map(([index]) => [row, index]));
  },

  changes() {
    const { changes } = data;
    if (!changes) return undefined;
    const shown = new Set(filter.shown);
    const group = (title, cases, entry) => cases.length > 0 && [make("h3", {}, `${title} (${cases.length})`), this.list(cases, entry)];
    const slower = changes.slower.filter(({ case: index }) => shown.has(index)).sort((one, other) => data.cases[other.case].took / other.before - data.cases[one.case].took / one.before);
    const parts = [
      group("Newly failing", changes.failing.filter((index) => shown.has(index)), (index) => this.entry(index)),
      group("Fixed", changes.fixed.filter((index) => shown.has(index)), (index) => this.entry(index)),
      group("Slower", slower, ({ case: index, before }) => this.entry(index, make("span", { class: "tag" }, `${(data.cases[index].took / before).toFixed(1)} times the ${time(before)} before`))),
    ].filter(Boolean);
    const since = make("p", { class: "soft" }, `Compared with run ${visible(changes.run)} of ${date(changes.started)}; cases that did not run there, with the last run in which they did.${changes.new ? ` ${plural(changes.new, "case")} had no earlier result.` : ""}`);
    return this.section("changes", "Changes since the previous run", since, parts.length ? parts : make("p", {}, "No case changed."));
  },

  slowest() {
    const ran = filter.shown.filter((index) => data.cases[index].took > 0);
    const slowest = ran.sort((one, other) => data.cases[other].took - data.cases[one].took).slice(0, 200);
    const most = longest(slowest.map((index) => data.cases[index]));
    const entry = (index) => {
      const case_ = data.cases[index];
      return make("li", { class: case_.verdict }, sign(case_.verdict), make("span", {}, caseButton(index)), make("span", { class: "number" }, time(case_.took)),
        phases(case_, case_.verdict, most), make("span", { class: "note" }, phaseText(case_)));
    };
    return slowest.length > 0 && this.section("slowest", "Slowest", this.list(slowest, entry, 10));
  },

  /** The cases with a verdict that says little of each, by reason. */
  byReason(id, title, verdict) {
    const all = filter.shown.filter((index) => data.cases[index].verdict === verdict);
    const byReason = [...Map.groupBy(all, (index) => data.cases[index].reason ?? "no reason")].sort((one, other) => other[1].length - one[1].length);
    const group = ([reason, cases]) => make("details", { class: verdict, open: cases.length <= this.FIRST && verdict === "not-run" },
      make("summary", { class: "text" }, sign(verdict), ` ${visible(reason)} `, make("span", { class: "tag" }, String(cases.length))),
      this.list(cases, (index) => make("li", {}, make("i"), caseButton(index))));
    return all.length > 0 && this.section(id, `${title} (${all.length.toLocaleString("en")})`, byReason.map(group));
  },

  metrics() {
    const shown = new Set(filter.shown);
    const lines = data.metrics.filter((line) => shown.has(line.case));
    const entry = ({ case: index, name, unit, values }) => make("li", { class: "metric" }, make("i"), make("span", {}, make("b", { class: "name" }, visible(name)), " of ", caseButton(index)),
      make("span", { class: "number" }, `${values.at(-1).toLocaleString("en")} ${visible(unit ?? "")}`), values.length > 1 && make("span", { class: "note" }, this.line(values)));
    return lines.length > 0 && this.section("metrics", "Metrics", this.list(lines, entry));
  },

  /** A line over runs. */
  line(values) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const x = (at) => 4 + (at / (values.length - 1)) * 212;
    const y = (value) => 40 - ((value - least) / (most - least || 1)) * 36;
    const points = values.map((value, at) => `${x(at)},${y(value)}`).join(" ");
    const title = `${plural(values.length, "value")}, from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
    return make("svg:svg", { role: "img", "aria-label": title, viewBox: "0 0 220 44" }, make("svg:title", {}, title), make("svg:polyline", { points }),
      values.map((value, at) => make("svg:circle", { cx: x(at), cy: y(value), r: at === values.length - 1 ? 4 : 2 })));
  },

  run() {
    const { event, targets, binaries, ...started } = data.started ?? {};
    const text = (value) => visible(Array.isArray(value) ? value.join(" ") : String(value));
    const facts = [["start", date(data.wall)], ["duration", time(data.length)], ["exit code", data.exitCode ?? "none"], ...Object.entries(started)].filter(([, value]) => value !== null);
    const instance = (lane) => make("details", {},
      make("summary", {}, make("span", { class: "name" }, visible(lane.name)), make("span", { class: "soft" }, lane.reused ? " kept from an earlier run" : "")),
      factList(Object.entries({ target: lane.target?.label, platform: lane.target?.platform, reach: lane.reach, ...lane.facts }).filter(([, value]) => value)),
      lane.console && detail.console(lane.console),
      lane.notes.length > 0 && make("ul", {}, lane.notes.map(([at, note]) => make("li", { class: "text" }, `${time(at)}: ${visible(note)}`))));
    return this.section("run", "Run",
      make("dl", {}, facts.flatMap(([key, value]) => [make("dt", {}, key), make("dd", { class: "text" }, text(value))])),
      data.warnings.length > 0 && [make("h3", {}, "Warnings"), make("ul", {}, data.warnings.map((warning) => make("li", { class: "text" }, visible(warning))))],
      data.instances.length > 0 && [make("h3", {}, "Instances"), data.instances.map(instance)],
      data.notes.length > 0 && [make("h3", {}, "After the run"), make("ul", {}, data.notes.map(([what, name, note]) => make("li", { class: "text" }, `${visible(name)}: ${what}${note ? `: ${visible(note)}` : ""}`)))]);
  },
};
