// The status page: asks for /status.json every few seconds and draws what it says.

const EVERY = 5000;
let seen = null;

/** One plot: a title, up to two lines over the last hour, and the same in words. */
function plot(title, unit, lines) {
  const all = lines.flatMap(([, values]) => values).filter((value) => value !== null);
  const top = Math.max(...all, 0) || 1;
  const words = lines.map(([name, values]) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${name}: nothing yet`;
    return `${name} ${unit(known[known.length - 1])}, most ${unit(Math.max(...known))}`;
  });
  const legend = words.map((text, index) => make("p", { class: index === 0 ? "first" : "second" }, text));
  const drawing = make("svg", { viewBox: "0 0 119 40", preserveAspectRatio: "none", role: "img", "aria-label": `${title}. ${words.join("; ")}.` },
    make("line", { x1: 0, y1: 39.5, x2: 119, y2: 39.5 }),
    ...lines.map(([, values], index) => make("path", { class: index === 0 ? "first" : "second", d: path(values, top, 38) })));
  return make("figure", {}, make("figcaption", {}, make("h3", {}, title), ...legend), drawing,
    make("p", { class: "axis", "aria-hidden": "true" }, make("span", {}, "an hour ago"), make("span", {}, "now")));
}

/** The line through the values; where there is none the line ends and begins again. */
function path(values, top, height) {
  let drawn = "";
  let was = null;
  values.forEach((value, index) => {
    const point = value === null ? "" : `${index} ${(1 + height * (1 - value / top)).toFixed(2)}`;
    // A line from a point to itself is a dot, so that one alone is seen, too.
    if (point) drawn += was === null ? `M${point}L${point}` : `L${point}`;
    was = value;
  });
  return drawn;
}

/** Calls and failures of a program by minute, small. */
function spark(row) {
  const top = Math.max(...row.calls_by_minute, 1);
  const width = Math.max(row.calls_by_minute.length - 1, 1);
  return make("svg", { viewBox: `0 0 ${width} 20`, preserveAspectRatio: "none", role: "img", "aria-label": `Calls by minute, at most ${number(top)}` },
    make("path", { d: path(row.calls_by_minute, top, 18) }),
    make("path", { class: "second", d: path(row.failed_by_minute, top, 18) }));
}

const word = (bad, text, kind) => make("span", bad ? { class: kind || "bad" } : {}, text);

function draw(status) {
  at("about").textContent = `version ${status.version}, up for ${span(status.uptime_seconds)}`;
  document.title = `${status.sentence.split(/[:;]/)[0]} - airudder-gateway`;
  state(status.state, status.sentence, status.troubles.map((trouble) => make("li", { class: trouble.severity }, trouble.sentence)));
  const hour = status.hour;
  const pace = (value) => `${number(value)}/s`;
  at("plots").replaceChildren(
    plot("Calls", pace, [["went well", hour.calls_per_second], ["failed", hour.failed_per_second]]),
    plot("Time of a call", short, [["half within", hour.p50_seconds], ["99 % within", hour.p99_seconds]]),
    plot("Callbacks", pace, [["taken", hour.callbacks_per_second], ["delivered", hour.deliveries_per_second]]),
    plot("Deliveries", number, [["waiting", hour.waiting], ["dead letters", hour.dead]]));
  at("accounts").replaceChildren(table("Accounts", [
    ["Account", (row) => row.name],
    ["Token", (row) => row.reason ? word(true, `none: ${row.reason}`) : word(row.token_seconds_left < 600, `${span(row.token_seconds_left)} left`, "warn")],
    ["Breaker", (row) => word(["open", "probing"].includes(row.breaker), row.breaker)],
    ["Limit", (row) => row.rate > 0 ? `${number(row.rate)}/s` : "none"],
    ["Waiting", (row) => row.waiting],
    ["Answers 2xx", (row) => row.hour["2xx"]],
    ["4xx", (row) => row.hour["4xx"]],
    ["5xx", (row) => row.hour["5xx"]],
    ["Limited", (row) => row.hour.limited],
  ], status.accounts));
  at("programs").replaceChildren(table("Programs", [
    ["Program", (row) => row.name === "-" ? "without a name" : row.name],
    ["Last minute", (row) => row.minute.ok + row.minute.failed],
    ["Went well", (row) => row.hour.ok],
    ["Its fault", (row) => row.hour.program],
    ["Gateway's fault", (row) => row.hour.gateway],
    ["Platform's fault", (row) => row.hour.platform],
    ["By minute", (row) => spark(row)],
  ], status.programs));
  at("ask").hidden = !status.inbox;
  at("sources").replaceChildren(
    ...(status.inbox ? [make("p", { class: "nothing" }, `The inbox ${status.inbox.reason === "elsewhere" ? "is still with the process before this one" : status.inbox.ready ? "takes callbacks" : `takes none: ${status.inbox.reason}`}; ${bytes(status.inbox.bytes)} of ${bytes(status.inbox.max_bytes)}.`)] : []),
    table("Sources of callbacks", [
      ["Source", (row) => row.name],
      ["Taken", (row) => row.hour.taken],
      ["Refused", (row) => row.hour.refused],
      ["Not opened", (row) => row.hour.unopened],
      ["Lost", (row) => row.hour.lost],
      ["Next loss", (row) => row.seconds_to_loss === null ? "none" : word(true, `in ${span(row.seconds_to_loss)}`)],
    ], status.sources));
  at("receivers").replaceChildren(table("Receivers", [
    ["Receiver", (row) => row.name],
    ["Waiting", (row) => row.waiting],
    ["Oldest", (row) => row.waiting > 0 ? span(row.oldest_seconds) : "none"],
    ["Dead letters", (row) => row.dead],
    ["Delivered", (row) => row.hour.delivered],
    ["Failed attempts", (row) => row.hour.failed],
  ], status.receivers));
  at("failures").replaceChildren(table("Last failures", [
    ["What", (row) => row.word === "answered" ? `answer ${row.status}${row.code === null ? "" : `, code ${row.code}`}` : row.word],
    ["Last", (row) => moment(row.last)],
    ["Times", (row) => row.count],
    ["Where", (row) => row.half],
    ["Who", (row) => row.name === "-" ? "without a name" : row.name],
    ["Operation", (row) => row.operation === "-" ? "none" : row.operation],
    ["Fault", (row) => row.fault === "-" ? "none" : row.fault],
  ], status.failures));
  at("updated").replaceChildren("Counts are of the last ", span(Math.min(status.covers_seconds, 3600)), ". Read at ", moment(status.now), ", again every 5 s.");
}

function state(kind, sentence, troubles) {
  const box = at("state");
  if (at("sentence").textContent !== sentence) at("sentence").textContent = sentence;
  box.className = `state ${kind}`;
  document.documentElement.dataset.state = kind;
  at("below").className = kind === "stale" ? "stale-below" : "";
  if (troubles) at("troubles").replaceChildren(...troubles);
}

async function look() {
  try {
    const status = await ask("/status.json");
    seen = status.now;
    draw(status);
  } catch (failed) {
    const since = seen ? ` What stands below is from ${new Date(seen).toLocaleTimeString("en-GB")}.` : "";
    const asked = failed.status === 401 || failed.status === 404;
    state("stale", (asked ? "The gateway asks for its token: load this page anew." : "The gateway does not answer.") + since);
    document.title = "No answer - airudder-gateway";
  }
}

/** While the page is not seen nothing is asked. */
async function follow() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
follow();
