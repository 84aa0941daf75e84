// The matrix of tests and targets. Only the rows in view are elements.

const matrix = {
  ROW: 30,
  rows: [],
  expanded: new Map(),
  focus: { row: 0, column: 0 },

  setUp() {
    this.grid = byId("grid");
    this.subtests = Map.groupBy(data.subtests, (row) => row.test);
    const { compare } = new Intl.Collator("en", { numeric: true });
    const order = (one, other) => compare(data.tests[one].binary, data.tests[other].binary) || compare(data.tests[one].name, data.tests[other].name);
    this.order = [...data.tests.keys()].sort(order);
    const many = data.places.length > 6;
    this.grid.classList.toggle("many", many);
    const longest = data.tests.reduce((most, { name, binary }) => Math.max(most, name.length + binary.length), 0);
    const width = Math.min(Math.max(longest + 8, 24), many ? 46 : 70);
    this.grid.style.setProperty("--names", `min(${width}ch, ${innerWidth < 641 ? 52 : 60}vw)`);
    this.grid.style.setProperty("--cell", many ? "34px" : "140px");
    this.grid.setAttribute("role", "treegrid");
    this.grid.setAttribute("aria-label", "Tests and targets");
    this.grid.setAttribute("aria-colcount", data.places.length + 1);
    this.body = make("div", { class: "body", role: "rowgroup" });
    const places = data.places.map((place) => make("div", { class: "place", role: "columnheader", title: visible(place.label) }, visible(place.label)));
    const head = make("div", { class: "row head", role: "row", "aria-rowindex": "1" }, make("div", { class: "corner soft", role: "columnheader" }, "Test"), places);
    this.grid.append(make("div", { role: "rowgroup" }, head), this.body);
    this.grid.addEventListener("scroll", () => this.draw());
    this.grid.addEventListener("keydown", (event) => this.key(event));
    addEventListener("resize", () => this.draw());
    filter.listeners.push(() => this.update());
  },

  /** Collects the rows: tests with a case that passes the filter, and the sub-results of those that are expanded. */
  update() {
    const byTest = Map.groupBy(filter.shown, (index) => data.cases[index].test);
    this.rows = [];
    for (const test of this.order.filter((test) => byTest.has(test))) {
      const cases = byTest.get(test);
      const subtests = this.subtests.get(test) ?? [];
      const cells = new Map();
      for (const index of cases) {
        const { place } = data.cases[index];
        cells.set(place, [...(cells.get(place) ?? []), index]);
      }
      const bad = subtests.some((row) => row.cells.some(([, verdict]) => !["pass", "skip"].includes(verdict)));
      const open = this.expanded.get(test) ?? bad;
      this.rows.push({ test, cells, cases, children: subtests.length, open });
      if (open) for (const subtest of subtests) this.addSubtest(test, subtest, new Set(cases));
    }
    this.focus.row = Math.min(this.focus.row, Math.max(this.rows.length - 1, 0));
    this.grid.setAttribute("aria-rowcount", this.rows.length + 1);
    this.body.style.height = `${Math.max(this.rows.length, 1) * this.ROW}px`;
    this.draw(true);
  },

  addSubtest(test, subtest, cases) {
    const cells = new Map();
    for (const [index, verdict] of subtest.cells.filter(([index]) => cases.has(index))) {
      const { place } = data.cases[index];
      const cell = cells.get(place) ?? { cases: [], verdicts: [] };
      cells.set(place, { cases: [...cell.cases, index], verdicts: [...cell.verdicts, verdict] });
    }
    if (cells.size > 0) this.rows.push({ test, subtest, cells });
  },

  draw(always = false) {
    const height = this.grid.clientHeight || 600;
    const first = Math.max(Math.floor(this.grid.scrollTop / this.ROW) - 8, 0);
    const last = Math.min(first + Math.ceil(height / this.ROW) + 16, this.rows.length);
    if (!always && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const had = this.body.contains(document.activeElement);
    const rows = this.rows.slice(first, last).map((row, at) => this.row(row, first + at));
    fill(this.body, rows.length ? rows : make("p", { class: "soft" }, " No case passes the filter."));
    if (had) this.focused()?.focus({ preventScroll: true });
  },

  row(row, at) {
    const { name, binary } = data.tests[row.test];
    const title = row.subtest
      ? `${visible(row.subtest.path.join(" / "))}${row.subtest.lane ? ` (${visible(row.subtest.lane)})` : ""}`
      : visible(name);
    const click = (column) => () => {
      this.focus = { row: at, column };
      this.act();
    };
    const tab = (column) => (this.focus.row === at && this.focus.column === column ? "0" : "-1");
    const header = make("div", { class: row.subtest ? "test sub" : "test", role: "rowheader", tabindex: tab(0), title: `${visible(binary)} ${title}`, click: click(0), "data-column": 0 },
      !row.subtest && data.subtests.length > 0 && make("span", { class: "twist", "aria-hidden": "true" }, row.children ? (row.open ? "▾" : "▸") : ""),
      make("span", { class: "name" }, title),
      !row.subtest && make("span", { class: "binary name" }, `  ${visible(binary)}`));
    const cells = data.places.map((place, index) => this.cell(row, place, index, tab(index + 1), click(index + 1)));
    const expanded = row.children ? String(row.open) : undefined;
    const element = make("div", { class: "row", role: "row", "aria-rowindex": at + 2, "aria-level": row.subtest ? 2 : 1, "aria-expanded": expanded }, header, cells);
    element.style.top = `${at * this.ROW}px`;
    return element;
  },

  cell(row, place, index, tabindex, click) {
    const column = { tabindex, role: "gridcell", "data-column": index + 1 };
    const cell = row.cells.get(index);
    if (!cell) return make("div", { class: "cell empty", ...column, "aria-label": `${visible(place.label)}: no case` });
    const cases = row.subtest ? cell.cases : cell;
    const verdict = worst(row.subtest ? cell.verdicts : cases.map((one) => data.cases[one].verdict));
    const took = cases.reduce((sum, one) => sum + data.cases[one].took, 0);
    const count = cases.length > 1 ? `×${cases.length} ` : "";
    const short = data.places.length > 6 || row.subtest;
    const warns = cases.some((one) => data.cases[one].findings) ? ", with findings" : "";
    const text = `${visible(place.label)}: ${VERDICTS[verdict].word.toLowerCase()}${warns}, ${count}${time(took)}`;
    return make("div", { class: `cell ${verdict}`, ...column, click, title: text, "aria-label": text },
      sign(verdict), warns && make("span", { "aria-hidden": "true" }, "!"),
      !short && make("span", { class: "number" }, count + (took ? time(took) : "")));
  },

  focused() {
    const row = this.body.querySelector(`[aria-rowindex="${this.focus.row + 2}"]`);
    return row?.querySelector(`[data-column="${this.focus.column}"]`);
  },

  /** Returns the focus to a cell that was drawn anew. */
  focusAgain() {
    if (document.activeElement === byId("query") || document.activeElement === document.body) this.focused()?.focus();
  },

  /** Opens the cell with the focus; a test with sub-results is expanded or collapsed. */
  act() {
    const row = this.rows[this.focus.row];
    const cell = row?.cells.get(this.focus.column - 1);
    if (this.focus.column === 0 && row?.children) return this.expand(row, !row.open);
    if (this.focus.column === 0 && row) return detail.open(row.subtest ? [...row.cells.values()].flatMap(({ cases }) => cases) : row.cases);
    if (cell) detail.open(row.subtest ? cell.cases : cell);
    return undefined;
  },

  expand(row, open) {
    this.expanded.set(row.test, open);
    this.update();
    this.focused()?.focus();
  },

  key(event) {
    const { row, column } = this.focus;
    const page = Math.max(Math.floor(this.grid.clientHeight / this.ROW) - 2, 1);
    const current = this.rows[row];
    const steps = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      PageUp: [-page, 0], PageDown: [page, 0],
      Home: [event.ctrlKey ? -Infinity : 0, -Infinity], End: [event.ctrlKey ? Infinity : 0, Infinity],
    };
    if (event.key === "Enter" || event.key === " ") this.act();
    else if (event.key === "ArrowRight" && column === 0 && current?.children && !current.open) this.expand(current, true);
    else if (event.key === "ArrowLeft" && column === 0 && current?.children && current.open) this.expand(current, false);
    else if (steps[event.key]) this.move(...steps[event.key]);
    else return;
    event.preventDefault();
  },

  move(down, right) {
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    this.focus = { row: within(this.focus.row + down, this.rows.length - 1), column: within(this.focus.column + right, data.places.length) };
    const top = this.focus.row * this.ROW;
    const head = this.grid.firstChild.offsetHeight;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    if (top + this.ROW + head > this.grid.scrollTop + this.grid.clientHeight) this.grid.scrollTop = top + this.ROW + head - this.grid.clientHeight;
    this.draw(true);
    this.focused()?.focus({ preventScroll: true });
    this.focused()?.scrollIntoView({ block: "nearest", inline: "nearest" });
  },
};
