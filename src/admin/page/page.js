"use strict";
// What both pages are built with. Text goes into the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a child that is no node is text, and nothing is left out. */
function make(name, attributes, ...children) {
  const made = ["svg", "path", "line"].includes(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const at = (id) => document.getElementById(id);

const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const wholes = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A number as people read it: whole ones whole, others with three digits. */
function number(value) {
  if (value === null || value === undefined) return "none";
  return Number.isInteger(value) ? wholes.format(value) : numbers.format(value);
}

/** A time span in its two largest units. */
function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first === -1) return seconds > 0 ? short(seconds) : "0 s";
  const [name, size] = units[first];
  const text = `${Math.floor(seconds / size)} ${name}`;
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return rest > 0 ? `${text} ${rest} ${next[0]}` : text;
}

/** A time span below some seconds. */
function short(seconds) {
  if (seconds === null || seconds === undefined) return "none";
  if (seconds >= 1) return `${numbers.format(seconds)} s`;
  return seconds >= 0.001 ? `${numbers.format(seconds * 1e3)} ms` : `${numbers.format(seconds * 1e6)} µs`;
}

/** Bytes in binary units. */
function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; count >= 1024 && at < units.length - 1; at += 1) count /= 1024;
  return `${numbers.format(count)} ${units[at]}`;
}

/** A moment: the time of day here, and the whole of it when pointed at. */
function moment(text) {
  const when = new Date(text);
  const day = when.toDateString() === new Date().toDateString() ? "" : `${when.toLocaleDateString("en-GB")} `;
  return make("time", { datetime: text, title: text }, day + when.toLocaleTimeString("en-GB"));
}

/**
 * A table. `columns`: heading and what of a row stands there; the first one names the row. Roles are written out, because
 * on a phone the style makes blocks of it, and those would not be read as a table.
 */
function table(label, columns, rows) {
  if (rows.length === 0) return make("p", { class: "nothing" }, "None yet.");
  const head = columns.map(([title]) => make("th", { scope: "col", role: "columnheader" }, title));
  const body = rows.map((row) => make("tr", { role: "row" }, ...columns.map(([title, value], index) => {
    const content = value(row);
    if (index === 0) return make("th", { scope: "row", role: "rowheader" }, content);
    const kind = typeof content === "number" ? { class: "number" } : {};
    return make("td", { role: "cell", "data-label": title, ...kind }, typeof content === "number" ? number(content) : content);
  })));
  return make("table", { role: "table", "aria-label": label },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
    make("tbody", { role: "rowgroup" }, ...body));
}

/** Asks for JSON of this gateway; fails with a sentence. */
async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(8000), ...options });
  const text = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(text.message || `status ${answer.status}`), { status: answer.status });
  return text;
}
