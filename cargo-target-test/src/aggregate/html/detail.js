// The panel with everything about one case.

const detail = {
  /** The details of a case, from the data block that has them. */
  read(index) {
    const block = data.firstCases.findLastIndex((first) => first <= index);
    if (this.block !== block) {
      this.block = block;
      this.cases = JSON.parse(byId(`details-${block}`).textContent);
    }
    return this.cases[index - data.firstCases[block]];
  },

  /** Opens the panel for some cases of one test; shows `chosen`, or the case with the worst verdict. */
  open(cases, chosen) {
    const panel = byId("detail");
    cases = [...cases].sort((one, other) => data.cases[one].place - data.cases[other].place || one - other);
    if (panel.hidden) this.before = document.activeElement;
    const verdict = worst(cases.map((index) => data.cases[index].verdict));
    this.show(cases, chosen ?? cases.find((index) => data.cases[index].verdict === verdict));
    panel.hidden = false;
    panel.scrollTop = 0;
    byId("detail-title").focus();
  },

  close() {
    const panel = byId("detail");
    if (panel.hidden) return;
    panel.hidden = true;
    (this.before?.isConnected ? this.before : byId("query")).focus();
    matrix.focusAgain();
  },

  show(cases, index) {
    const case_ = data.cases[index];
    const test = testOf(index);
    const { absence, attempts } = this.read(index);
    const title = make("h2", { id: "detail-title", tabindex: "-1" }, sign(case_.verdict), " ", ...caseName(index));
    const others = cases.length > 1 && make("div", { class: "cases", role: "group", "aria-label": "Cases of this test" }, cases.map((one) => {
      const { verdict, repetition } = data.cases[one];
      const label = [sign(verdict), ` ${visible(placeOf(one).label)}${repetition ? ` #${repetition}` : ""}`];
      return button(label, () => this.show(cases, one), { "aria-pressed": String(one === index) });
    }));
    fill(
      byId("detail"),
      make("div", { class: "top" }, title, button("Close", () => this.close(), { "aria-keyshortcuts": "Escape" })),
      others,
      make("p", { class: "soft name" }, `${VERDICTS[case_.verdict].word} · ${visible(test.binary)}`),
      test.meta && this.meta(test.meta),
      absence && make("p", { class: `reason ${case_.verdict}` }, visible(absence)),
      attempts.map((attempt, at) => this.attempt(attempt, attempts.length, at === attempts.length - 1)),
      attempts.length === 0 && !absence && make("p", { class: "soft" }, "No attempt was made."),
    );
  },

  meta(meta) {
    const { doc, ...rest } = meta;
    const text = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
    const shown = ([key, value]) => [make("dt", {}, key), make("dd", {}, visible(Array.isArray(value) && value.every((one) => typeof one !== "object") ? value.join(", ") : text(value)))];
    return [doc && make("p", { class: "text" }, visible(doc)), Object.keys(rest).length > 0 && make("dl", {}, Object.entries(rest).flatMap(shown))].filter(Boolean);
  },

  attempt(attempt, count, open) {
    const { verdict } = attempt;
    const iteration = attempt.iteration === undefined ? "" : `Iteration ${attempt.iteration + 1}, attempt `;
    const label = `${iteration || "Attempt "}${attempt.number}: ${VERDICTS[verdict].word.toLowerCase()}`;
    const facts = [
      ["Time", phaseText(attempt)],
      ["Started", attempt.at !== undefined && `${time(attempt.at)} after the start of the run`],
      ["Exit status", attempt.exit],
      ["Output", attempt.log && make("a", { href: attempt.log }, "both streams, in order")],
      ["Time limit", attempt.timedOut && `ended after ${time(attempt.timedOut)}`],
    ].filter(([, value]) => value);
    return make(
      "details",
      { class: `attempt ${verdict}`, open: open || count <= 3 },
      make("summary", {}, sign(verdict), ` ${label}`),
      phases(attempt, verdict, attempt.took + attempt.waited || 1),
      attempt.reason && make("p", { class: "reason text" }, ...escaped(attempt.reason)),
      make("dl", {}, facts.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]), this.instances(attempt.instances)),
      this.list("Findings of health checks", attempt.findings),
      this.subtests(attempt),
      this.output("Standard error", attempt.stderr),
      this.output("Standard output", attempt.stdout),
      this.commands(attempt),
      (attempt.consoles ?? []).map((console) => this.console(console)),
      this.measurements(attempt.measurements ?? []),
      this.artifacts(attempt),
    );
  },

  instances(names) {
    return names.length > 0 && [make("dt", {}, names.length > 1 ? "Instances" : "Instance"), make("dd", {}, names.map((name) => {
      const lane = data.instances.find((one) => one.name === name);
      const facts = lane && Object.entries(lane.facts);
      if (!facts?.length) return make("div", { class: "name" }, visible(name));
      return make("details", {}, make("summary", { class: "name" }, visible(name)), factList(facts));
    }))];
  },

  list(title, items = []) {
    return items.length > 0 && [make("h3", {}, title), make("ul", {}, items.map((item) => make("li", { class: "text" }, visible(item))))];
  },

  output(title, output) {
    if (!output) return undefined;
    const shown = new TextEncoder().encode(output.text).length;
    const cut = shown < output.length;
    const whole = output.link && make("a", { href: output.link }, cut ? `the whole output (${bytes(output.length)})` : "file");
    return [
      make("h3", {}, title, whole && [" ", make("span", { class: "soft" }, cut ? `the last ${bytes(shown)} of `: "", whole)]),
      output.text && terminal(output.text),
    ];
  },

  console({ instance, text, link }) {
    return [make("h3", {}, `Console of ${visible(instance)} `, link && make("a", { href: link }, "file")), terminal(text)];
  },

  commands({ commands = [], moreCommands }) {
    const row = ([instance, at, took, exit, text]) => make("tr", {},
      make("td", { class: "number" }, time(at)),
      make("td", { class: "name" }, visible(instance)),
      make("td", {}, make("code", {}, visible(text))),
      make("td", { class: "number" }, time(took)),
      make("td", { class: "number" }, exit === "0" ? "0" : make("b", {}, visible(exit))));
    const head = [["Start", "number"], ["Instance", ""], ["Command", ""], ["Time", "number"], ["Exit", "number"]];
    return (commands.length > 0 || moreCommands) && [
      make("h3", {}, `Commands on the target (${commands.length + (moreCommands ?? 0)})`),
      make("div", { class: "scroll" }, make("table", { class: "commands" }, make("tr", {}, head.map(([name, kind]) => make("th", { class: kind }, name))), commands.map(row))),
      moreCommands && make("p", { class: "soft" }, `${plural(moreCommands, "more command")} in feed.jsonl`),
    ];
  },

  subtests({ subtests = [], moreSubtests }) {
    const entry = (one) => make("li", { class: one.verdict },
      sign(one.verdict),
      make("span", { class: "name" }, visible(one.path.join(" / ")), one.lane && make("span", { class: "where" }, ` on ${visible(one.lane)}`)),
      make("span", { class: "number soft" }, time(one.took)),
      one.message && make("span", { class: "note text" }, ...escaped(one.message)));
    return subtests.length > 0 && [
      make("h3", {}, `Sub-results (${subtests.length + (moreSubtests ?? 0)})`),
      lists.list(subtests, entry, 100),
      moreSubtests && make("p", { class: "soft" }, `${plural(moreSubtests, "more sub-result")} in feed.jsonl`),
    ];
  },

  measurements(all) {
    return all.length > 0 && [make("h3", {}, "Measurements"), make("dl", {}, all.flatMap(([name, value, unit]) => [make("dt", {}, visible(name)), make("dd", {}, `${value.toLocaleString("en")} ${visible(unit ?? "")}`)]))];
  },

  artifacts({ folder, artifacts = [] }) {
    return folder && [make("h3", {}, "Artifacts ", make("a", { href: folder }, "folder")), artifacts.length > 0 && make("ul", {}, artifacts.map(([instance, name, size, error]) =>
      make("li", { class: "text" }, `${visible(instance)}: ${visible(name)} (${bytes(size)})${error ? `: ${visible(error)}` : ""}`)))];
  },
};

const factList = (facts) => make("dl", {}, facts.flatMap(([key, value]) => [make("dt", {}, visible(key)), make("dd", {}, visible(value))]));
