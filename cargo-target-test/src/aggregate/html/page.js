// The head of the page, and the start.

const page = {
  /** The run in one word, with the verdict that colours it. */
  status() {
    const has = (...verdicts) => data.cases.some(({ verdict }) => verdicts.includes(verdict));
    if (!data.complete) return ["unfinished", "Incomplete"];
    if (data.interrupted) return ["unfinished", "Interrupted"];
    if (has("fail", "crash")) return ["fail", "Failed"];
    if (has("infra")) return ["infra", "Infra"];
    return data.exitCode === 0 ? ["pass", "Passed"] : ["fail", "Failed"];
  },

  setUp() {
    const [verdict, word] = this.status();
    const counts = Object.fromEntries(ORDER.map((one) => [one, data.cases.filter((case_) => case_.verdict === one).length]));
    const used = ORDER.filter((one) => counts[one] > 0);
    const words = used.map((one) => `${counts[one].toLocaleString("en")} ${VERDICTS[one].word.toLowerCase()}`);
    const notRun = data.counts?.["not-run"] ?? (data.complete ? 0 : Math.max((data.started?.cases ?? 0) + (data.started?.["on-host"] ?? 0) - data.cases.length, 0));
    if (notRun > 0) words.push(`${notRun.toLocaleString("en")} not run`);
    const facts = [date(data.wall), time(data.length), plural(data.tests.length, "test"), plural(data.instances.length, "instance"), data.complete ? `exit code ${data.exitCode}` : "the run did not end by itself"];
    fill(byId("status"), make("span", { class: `badge ${verdict}` }, word), make("h1", { class: "name" }, visible(document.title)), make("p", {}, words.join(", ")), make("p", {}, facts.join(" · ")));
    byId("bar").setAttribute("aria-label", words.join(", "));
    for (const one of [...used].reverse()) {
      const part = make("i", { class: one });
      part.style.flexGrow = counts[one];
      byId("bar").append(part);
    }
    filter.listeners.push(() => {
      const titles = document.querySelectorAll("main h2");
      fill(document.querySelector("nav"), [...titles].map((title) => make("a", { href: `#${title.closest("section").id}` }, title.textContent)));
    });
  },
};

for (const part of [filter, matrix, timeline, lists, page]) part.setUp();
filter.apply();
addEventListener("keydown", (event) => event.key === "Escape" && detail.close());
document.documentElement.dataset.ready = "true";
