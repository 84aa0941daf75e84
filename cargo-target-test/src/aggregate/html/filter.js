// The filter: verdicts, words, target and metadata. `filter.shown` has the index of every case that passes it.

const filter = {
  verdicts: new Set(),
  shown: [],
  listeners: [],

  /** The texts of a test that a word may be found in, and its metadata as `key:value`. */
  describe(test) {
    const meta = test.meta ?? {};
    const pairs = [];
    for (const [key, value] of Object.entries(meta)) {
      if (["area", "category", "priority", "owner", "platform"].includes(key)) pairs.push(`${key}:${value}`);
      if (key === "tags" || key === "features") pairs.push(...value.map((one) => `${key.slice(0, -1)}:${one}`));
    }
    return { pairs: pairs.map((pair) => pair.toLowerCase()), shown: pairs };
  },

  setUp() {
    this.described = data.tests.map((test) => this.describe(test));
    const counts = {};
    for (const { verdict } of data.cases) counts[verdict] = (counts[verdict] ?? 0) + 1;
    for (const verdict of ORDER.filter((verdict) => counts[verdict])) {
      const label = [sign(verdict), `${VERDICTS[verdict].word} ${counts[verdict].toLocaleString("en")}`];
      const chip = button(label, () => {
        const pressed = !this.verdicts.delete(verdict);
        if (pressed) this.verdicts.add(verdict);
        chip.setAttribute("aria-pressed", pressed);
        this.apply();
      }, { class: verdict, "aria-pressed": "false" });
      byId("verdicts").append(chip);
    }
    const option = (value, text) => make("option", { value }, visible(text));
    byId("place").append(option("", "All targets"), ...data.places.map((place, index) => option(index, place.label)));
    const pairs = [...new Set(this.described.flatMap(({ shown }) => shown))].sort();
    byId("meta").append(option("", "All metadata"), ...pairs.map((pair) => option(pair.toLowerCase(), pair)));
    byId("meta").hidden = pairs.length === 0;
    byId("query").addEventListener("input", () => this.apply());
    for (const id of ["place", "meta"]) byId(id).addEventListener("change", () => this.apply());
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
    byId("clear").addEventListener("click", () => this.clear());
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.matches("input, select")) return;
      event.preventDefault();
      byId("query").focus();
    });
  },

  clear() {
    this.verdicts.clear();
    for (const chip of byId("verdicts").children) chip.setAttribute("aria-pressed", "false");
    for (const id of ["query", "place", "meta"]) byId(id).value = "";
    this.apply();
  },

  /** True for a case that has every word. */
  matches(words, index) {
    const { test, place, verdict } = data.cases[index];
    const { binary, name } = data.tests[test];
    const { pairs } = this.described[test];
    const label = data.places[place].label.toLowerCase();
    const text = `${binary} ${name} ${label} ${pairs.join(" ")}`.toLowerCase();
    return words.every((word) => {
      const [key, value] = word.split(/:(.*)/s);
      if (value === undefined || value === "") return text.includes(word);
      if (key === "target") return label.includes(value);
      if (key === "verdict") return verdict.startsWith(value) || VERDICTS[verdict].word.toLowerCase().startsWith(value);
      return pairs.some((pair) => pair.startsWith(word)) || text.includes(word);
    });
  },

  apply() {
    const words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [place, meta] = [byId("place").value, byId("meta").value];
    this.shown = [];
    for (const [index, { verdict, test, place: at }] of data.cases.entries()) {
      if (this.verdicts.size && !this.verdicts.has(verdict)) continue;
      if (place !== "" && at !== Number(place)) continue;
      if (meta !== "" && !this.described[test].pairs.includes(meta)) continue;
      if (words.length && !this.matches(words, index)) continue;
      this.shown.push(index);
    }
    const all = data.cases.length;
    const few = this.shown.length < all;
    byId("shown").textContent = few ? `${this.shown.length.toLocaleString("en")} of ${plural(all, "case")}` : plural(all, "case");
    byId("clear").hidden = !few;
    this.listeners.forEach((listener) => listener());
  },
};
