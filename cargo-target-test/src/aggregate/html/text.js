"use strict";
// Elements, texts and times. Every text of a test reaches the page by textContent.

const data = JSON.parse(document.getElementById("data").textContent);

const VERDICTS = {
  crash: { sign: "C", word: "Crashed" },
  fail: { sign: "F", word: "Failed" },
  infra: { sign: "I", word: "Infra" },
  unfinished: { sign: "…", word: "Unfinished" },
  "not-run": { sign: "○", word: "Not run" },
  flaky: { sign: "~", word: "Flaky" },
  expected: { sign: "x", word: "Failed as expected" },
  skip: { sign: "–", word: "Skipped" },
  pass: { sign: "✓", word: "Passed" },
};
/** The worst verdict first. */
const ORDER = Object.keys(VERDICTS);
const worst = (verdicts) => ORDER.find((verdict) => verdicts.includes(verdict));

/** Makes an element. Attributes that are functions are listeners. */
function make(name, attributes = {}, ...children) {
  const [tag, space] = name.startsWith("svg:")
    ? [name.slice(4), "http://www.w3.org/2000/svg"]
    : [name, "http://www.w3.org/1999/xhtml"];
  const element = document.createElementNS(space, tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  return fill(element, ...children);
}

/** Replaces the children; empty ones are left out. */
function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}
const byId = (id) => document.getElementById(id);
const sign = (verdict) =>
  make("span", { class: `sign ${verdict}`, title: VERDICTS[verdict].word, "aria-hidden": "true" }, VERDICTS[verdict].sign);
const button = (label, click, attributes = {}) => make("button", { type: "button", click, ...attributes }, label);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** Characters that would reorder text, hide in it, or control something. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff]/g;
const visible = (text) =>
  String(text).replace(HIDDEN, (one) => `\\u{${one.charCodeAt(0).toString(16)}}`).replace(/\n/g, " ⏎ ");

/** Shows the text of an output: colours of ANSI sequences, other sequences and control characters as such. */
function terminal(text) {
  const pre = make("pre", { tabindex: "0" });
  let style = [];
  // One carriage return before a line break says nothing.
  for (const part of text.replace(/\r\n/g, "\n").split(/(\u001b\[[0-9;]*m)/)) {
    const codes = /^\u001b\[([0-9;]*)m$/.exec(part);
    if (codes) style = styled(style, codes[1].split(";").map(Number));
    else if (part) pre.append(make("span", { class: style.join(" ") || undefined }, ...escaped(part)));
  }
  return pre;
}

function styled(style, codes) {
  const colour = (name) => [...style.filter((one) => !one.startsWith("ansi")), name].filter(Boolean);
  for (const code of codes) {
    if (code === 0) style = [];
    else if (code === 1) style = [...style, "bold"];
    else if (code === 2) style = [...style, "dim"];
    else if (code === 22) style = style.filter((one) => one !== "bold" && one !== "dim");
    else if (code >= 30 && code <= 37) style = colour(`ansi${code - 30}`);
    else if (code >= 90 && code <= 97) style = colour(`ansi${code - 82}`);
    else if (code === 39) style = colour();
    // A colour of 256 or of all: its numbers are no codes.
    else if (code === 38 || code === 48) break;
  }
  return style;
}

/** Splits a text into strings and elements for characters that are not visible. */
function escaped(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    parts.push(text.slice(from, match.index), make("span", { class: "escape" }, visible(match[0])));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}

/** Formats a duration in microseconds. */
function time(micros) {
  const seconds = micros / 1e6;
  if (seconds < 0.0995) return `${(micros / 1e3).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 ? 2 : 1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  const rest = Math.round(seconds) % 60;
  return minutes < 60 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function bytes(count) {
  if (count < 1024) return plural(count, "byte");
  const kib = count / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

const date = (millis) => new Date(millis).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const testOf = (index) => data.tests[data.cases[index].test];
const placeOf = (index) => data.places[data.cases[index].place];

/** The name of a case, in parts. */
function caseName(index) {
  const { repetition } = data.cases[index];
  const where = placeOf(index).kind === "host" ? "on this host" : `on ${visible(placeOf(index).label)}`;
  return [
    make("span", { class: "name" }, visible(testOf(index).name)),
    make("span", { class: "where name" }, ` ${where}${repetition ? ` #${repetition}` : ""}`),
  ];
}

/** A button that opens a case. */
const caseButton = (index) => button(caseName(index), () => detail.open([index]), { class: "link" });
const longest = (cases) => cases.reduce((most, case_) => Math.max(most, case_.took + case_.waited), 1);

/** The parts of the time of a case or attempt, as a bar. */
function phases(one, verdict, most) {
  const call = Math.max(one.took - one.setUp - one.tearDown, 0);
  const parts = [["waited", one.waited], ["fixtures", one.setUp], ["test", call], ["fixtures", one.tearDown]];
  const bar = make("div", { class: `phases ${verdict}`, "aria-hidden": "true" });
  for (const [name, micros] of parts.filter(([, micros]) => micros > 0)) {
    const part = make("i", { class: name });
    part.style.width = `${(100 * micros) / most}%`;
    bar.append(part);
  }
  return bar;
}

function phaseText(one) {
  const call = Math.max(one.took - one.setUp - one.tearDown, 0);
  const parts = [[one.waited, "waited"], [one.setUp, "set-up"], [call, "test"], [one.tearDown, "tear-down"]];
  return parts.filter(([micros], index) => micros > 0 || index === 2).map(([micros, name]) => `${name} ${time(micros)}`).join(" · ");
}
