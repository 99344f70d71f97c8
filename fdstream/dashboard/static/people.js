// Everybody who takes part, as a table that can be searched, and what the chosen one has done.

import { element, heading, replace } from "./dom.js";
import { bytes, metricValue, plural, whole } from "./format.js";
import { badge } from "./glyphs.js";
import { clientsOf, rowsOf } from "./store.js";
import { reasonOf, shownRound, stateOf } from "./view.js";

const MOST_ROWS = 60;
const COLUMNS = ["client", "state", "reports", "sent", "received", "examples", "accuracy"];

export function newPeople(card, choose) {
  const search = element("input", {
    type: "search",
    placeholder: "find a client",
    "aria-label": "find a client",
    oninput: () => choose.search(search.value),
  });
  const chip = element("button", { type: "button", class: "filter-chip", onclick: () => choose.filter(null) });
  const body = element("tbody", {});
  const head = element("tr", {}, COLUMNS.map((name) => element("th", { scope: "col", class: `column-${name}` }, name)));
  const note = element("p", { class: "note" });
  const table = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "clients" }, element("table", {}, element("thead", {}, head), body));
  replace(card, heading("people", "Clients", chip, search), table, note);
  return { card, body, head, chip, note, choose, signature: "" };
}

export function renderPeople(people, view) {
  const all = clientsOf(view.store);
  const wanted = view.search.toLowerCase();
  const found = all.filter(
    (party) => (!view.filter || stateOf(view, party) === view.filter) && party.name.toLowerCase().includes(wanted),
  );
  const order = (party) => (party.name === view.client ? -1 : stateOf(view, party) === "refused" ? 0 : 1);
  found.sort((one, other) => order(one) - order(other));
  const rows = rowsOf(view.store, shownRound(view));
  const metric = shownMetric([...rows.values()]);
  const shown = found.slice(0, MOST_ROWS).map((party) => cells(view, party, rows.get(party.name), metric));
  people.chip.hidden = !view.filter;
  people.chip.textContent = `${view.filter} ×`;
  people.head.lastChild.textContent = metric?.name ?? "accuracy";
  people.note.textContent = words(all, found, view);
  const signature = JSON.stringify([shown, view.client, metric]);
  if (signature === people.signature) return; // keeps the focus where it is
  people.signature = signature;
  replace(people.body, shown.map((row) => drawRow(people, view, row)));
}

function cells(view, party, row, metric) {
  const value = metric && row ? row[metric.of][metric.name] : null;
  return {
    name: party.name,
    state: stateOf(view, party),
    reason: reasonOf(view, party),
    reports: whole(party.reports),
    sent: bytes(party.sent),
    received: bytes(party.received),
    examples: row ? whole(row.examples) : "–",
    value: metric ? metricValue(metric.name, value) : "–",
  };
}

// What clients found about the model they got, else about their training.
function shownMetric(rows) {
  for (const of of ["evaluated", "metrics"]) {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row[of])))];
    const name = names.find((each) => /acc/i.test(each)) ?? names.sort()[0];
    if (name) return { of, name };
  }
  return null;
}

function drawRow(people, view, row) {
  const toggle = () => people.choose.client(view.client === row.name ? null : row.name);
  const name = element("button", { type: "button", class: "name", title: row.name, "aria-pressed": String(view.client === row.name), onclick: toggle }, row.name);
  return element(
    "tr",
    { class: view.client === row.name ? "chosen" : "", "data-name": row.name },
    element("th", { scope: "row" }, name),
    element("td", { class: `state state-${row.state}` }, badge(row.state), element("span", {}, row.state), row.reason ? element("small", { class: `reason reason-${row.state}` }, row.reason) : null),
    element("td", { class: "figure column-reports" }, row.reports),
    element("td", { class: "figure column-sent" }, row.sent),
    element("td", { class: "figure column-received" }, row.received),
    element("td", { class: "figure column-examples" }, row.examples),
    element("td", { class: "figure" }, row.value),
  );
}

function words(all, found, view) {
  if (!all.length) return "No client has been heard of yet.";
  if (found.length > MOST_ROWS) return `the first ${MOST_ROWS} of ${plural(found.length, "client")}; search to find others`;
  if (view.filter || view.search) return `${plural(found.length, "client")} of ${whole(all.length)}`;
  return "";
}
