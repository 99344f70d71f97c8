// How many bytes of tensors went over each link: in the shown round, and in all.

import { element, heading, replace } from "./dom.js";
import { bytes, whole } from "./format.js";
import { serversOf } from "./store.js";
import { roundsOf, shownRound } from "./view.js";

const LINKS = [
  { key: "received", from: "log", to: "clients", what: "model", lane: "model" },
  { key: "sent", from: "clients", to: "log", what: "updates", lane: "updates" },
  { key: "read", from: "log", to: "servers", what: "updates", lane: "updates" },
  { key: "published", from: "servers", to: "log", what: "next model", lane: "model" },
];

export function newTraffic(card) {
  const body = element("div", {});
  replace(card, heading("traffic", "Traffic"), body);
  return { body };
}

export function renderTraffic(traffic, view) {
  const round = view.store.rounds.get(shownRound(view));
  const rounds = roundsOf(view);
  const sizes = view.store.federation?.sizes;
  if (!round || !sizes) return replace(traffic.body, element("p", { class: "note" }, "nothing yet"));
  const most = Math.max(1, ...LINKS.map(({ key }) => round.traffic[key]));
  return replace(
    traffic.body,
    element(
      "ul",
      { class: "links" },
      LINKS.map((link) => drawLink(link, round, most, rounds.reduce((sum, each) => sum + each.traffic[link.key], 0))),
    ),
    perServer(view, round, sizes),
    element("p", { class: "note" }, `a model is ${bytes(sum(sizes.model))} on the way, an update ${bytes(sum(sizes.update))}; from the layout and what was reported`),
  );
}

function drawLink({ key, from, to, what, lane }, round, most, total) {
  const fill = element("i", { class: `fill fill-${lane}` });
  fill.style.width = `${(100 * round.traffic[key]) / most}%`;
  return element(
    "li",
    { "data-link": key },
    element("span", { class: "from-to" }, `${from} → ${to}`, element("small", {}, what)),
    element("span", { class: "track" }, fill),
    element("b", {}, bytes(round.traffic[key])),
    element("small", { class: "total", title: "over all rounds shown here" }, bytes(total)),
  );
}

// What each server's shards make of it.
function perServer(view, round, sizes) {
  const servers = serversOf(view.store).filter((party) => party.here && party.shards);
  if (!servers.length) return null;
  const clients = sum(sizes.update) ? round.traffic.sent / sum(sizes.update) : 0;
  return element(
    "table",
    { class: "per-server" },
    element("thead", {}, element("tr", {}, ["server", "shards", "reads", "writes"].map((name) => element("th", { scope: "col" }, name)))),
    element(
      "tbody",
      {},
      servers.map((party) => {
        const shards = party.shards.split(" ").map(Number);
        const of = (all) => sum(shards.map((shard) => all[shard] ?? 0));
        const written = sum(shards.filter((shard) => round.published.includes(shard)).map((shard) => sizes.model[shard] ?? 0));
        return element(
          "tr",
          {},
          element("th", { scope: "row", title: party.name }, party.name),
          element("td", { class: "figure" }, whole(shards.length)),
          element("td", { class: "figure" }, bytes(clients * of(sizes.update))),
          element("td", { class: "figure" }, bytes(written)),
        );
      }),
    ),
  );
}

function sum(numbers) {
  return numbers.reduce((one, other) => one + other, 0);
}
