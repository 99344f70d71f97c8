// What the page shows of the store: the live moment or an earlier round, and perhaps one client.

import { clientsOf, lastRound, rowsOf } from "./store.js";

export const STATES = ["waiting", "training", "uploading", "reported", "refused", "gone"];

export function newView(store) {
  return {
    store,
    round: null, // the one looked at; null follows the live one
    client: null,
    filter: null, // a state
    search: "",
  };
}

export function shownRound(view) {
  return view.round ?? lastRound(view.store);
}

export function isLive(view) {
  return view.round === null;
}

export function roundsOf(view) {
  return [...view.store.rounds.values()];
}

// A client's state: as it is now or, in a round looked back at, what became of its part.
export function stateOf(view, party) {
  if (isLive(view)) return party.state || "waiting";
  return rowsOf(view.store, view.round).get(party.name)?.outcome ?? "waiting";
}

export function reasonOf(view, party) {
  const row = rowsOf(view.store, shownRound(view)).get(party.name);
  if (row?.reason) return row.reason;
  return isLive(view) && party.reason ? `round ${party.reason_round}: ${party.reason}` : "";
}

export function stateCounts(view) {
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const party of clientsOf(view.store)) counts[stateOf(view, party)] += 1;
  return counts;
}

// Goes so many rounds on or back; past the last one is live.
export function move(view, by) {
  go(view, shownRound(view) + by);
}

export function go(view, number) {
  const numbers = [...view.store.rounds.keys()];
  if (!numbers.length) return;
  const last = lastRound(view.store);
  const wanted = Math.max(Math.min(...numbers), Math.min(last, number));
  view.round = wanted === last ? null : wanted;
}
