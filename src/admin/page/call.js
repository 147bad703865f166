// The page of a phone call: asks for /call.json and draws what it says; sends dead letters again.

const asked = new URLSearchParams(location.search).get("id");

function event(told) {
  const again = told.redrive && make("button", { type: "button" }, `Send again to ${told.redrive.receiver}`);
  if (again) again.addEventListener("click", () => redrive(again, told.redrive));
  return make("li", { class: told.kind }, moment(told.at), make("span", {}, told.sentence), again);
}

function state(kind, sentence) {
  at("state").hidden = false;
  at("state").className = `state ${kind}`;
  at("sentence").textContent = sentence;
  document.documentElement.dataset.state = kind;
}

function draw(call) {
  const known = call.events.length > 0;
  const dead = call.events.some((told) => told.kind === "dead");
  state(known ? (dead ? "warn" : "good") : "bad", call.sentence + (call.more ? " Only the first 100 of each are shown." : ""));
  at("found").hidden = !known;
  at("events").replaceChildren(...call.events.map(event));
  at("requests").replaceChildren(table("Requests", [
    ["Request", (row) => row.request_id],
    ["At", (row) => moment(row.at)],
    ["Program", (row) => row.program === "-" ? "without a name" : row.program],
    ["Account", (row) => row.account],
    ["Operation", (row) => row.operation],
    ["Sent", (row) => row.sent],
    ["Outcome", (row) => row.outcome],
    ["Status", (row) => row.status],
    ["Took", (row) => short(row.took_us / 1e6)],
  ], call.requests));
  at("callbacks").replaceChildren(table("Callbacks", [
    ["Callback", (row) => row.id],
    ["At", (row) => moment(row.received)],
    ["Source", (row) => row.source],
    ["Says", (row) => row.said.join("; ") || row.kind],
    ["State", (row) => row.state],
    ["Receivers", (row) => row.deliveries.map((to) => `${to.receiver}: ${to.state}`).join(", ") || "none"],
  ], call.callbacks));
}

async function look() {
  try {
    draw(await ask(`/call.json?${new URLSearchParams({ id: asked })}`));
  } catch (failed) {
    state("bad", failed.status ? failed.message : "The gateway does not answer. Try again.");
  }
}

/** The header is one that a form of another page cannot send. */
async function redrive(button, meant) {
  button.disabled = true;
  try {
    const answer = await ask("/inbox/redrive", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Gateway-Admin": "1" },
      body: JSON.stringify(meant),
    });
    await look();
    at("sentence").textContent += answer.matched === 1 ? " It is being sent again." : " It was no dead letter any more.";
  } catch (failed) {
    button.disabled = false;
    state("bad", failed.status ? failed.message : "The gateway does not answer, so it was not sent again.");
  }
}

if (asked) {
  at("id").value = asked;
  look();
}
