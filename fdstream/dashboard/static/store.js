// What is known of the federation in this browser: whole documents and changes go in, happenings come out.

const MOST_KEPT = 200; // events and refused records, as the dashboard keeps them

export function newStore() {
  return {
    federation: null,
    rounds: new Map(), // number -> round
    rows: new Map(), // number -> client -> row
    evaluations: new Map(), // number -> metrics of that round's model
    parties: new Map(), // name -> client or server
    events: [],
    refused: { total: 0, reasons: {}, records: [] },
    now: 0, // the broker's clock at `heardAt` of this browser's
    heardAt: performance.now(),
  };
}

// Lays a document over the store; what happened, in order, for those who animate it.
export function apply(store, changed) {
  const happened = [];
  if (changed.federation) store.federation = changed.federation;
  for (const round of changed.rounds) applyRound(store, round, happened);
  for (const row of changed.rows) applyRow(store, row, happened);
  for (const [number, metrics] of changed.global) store.evaluations.set(number, metrics);
  for (const party of changed.parties) store.parties.set(party.name, party);
  store.events = merged(store.events, changed.events);
  if (changed.refused) {
    store.refused = { ...changed.refused, records: merged(store.refused.records, changed.refused.records) };
  }
  for (const number of store.rounds.keys()) {
    if (number < changed.first_round) forget(store, number);
  }
  store.now = changed.now;
  store.heardAt = performance.now();
  return happened;
}

// The broker's time now, in seconds.
export function brokerNow(store) {
  return store.now + (performance.now() - store.heardAt) / 1000;
}

export function lastRound(store) {
  return store.federation?.round ?? 0;
}

export function clientsOf(store) {
  return [...store.parties.values()].filter((party) => party.role === "client").sort(byName);
}

export function serversOf(store) {
  return [...store.parties.values()].filter((party) => party.role === "server").sort(byName);
}

const names = new Intl.Collator("en", { numeric: true });

export function byName(one, other) {
  return names.compare(one.name, other.name);
}

export function rowsOf(store, number) {
  return store.rows.get(number) ?? new Map();
}

function applyRound(store, round, happened) {
  const before = store.rounds.get(round.number);
  store.rounds.set(round.number, round);
  if (round.rows !== "kept") store.rows.delete(round.number);
  if (!before) happened.push({ kind: "opened", round: round.number });
  const judged = round.judged.filter((shard) => !before?.judged.includes(shard));
  const published = round.published.filter((shard) => !before?.published.includes(shard));
  if (judged.length) happened.push({ kind: "judged", round: round.number, shards: judged });
  if (published.length) happened.push({ kind: "published", round: round.number, shards: published });
  if (round.closed && !before?.closed) happened.push({ kind: "closed", round: round.number });
}

function applyRow(store, [number, client, seconds, examples, outcome, reason, metrics, evaluated], happened) {
  if (!store.rows.has(number)) store.rows.set(number, new Map());
  const rows = store.rows.get(number);
  if (!rows.has(client)) happened.push({ kind: "reported", round: number, client, outcome });
  rows.set(client, { client, seconds, examples, outcome, reason, metrics, evaluated });
}

// By number: what comes again under a number replaces what was there.
function merged(kept, fresh) {
  if (!fresh.length) return kept;
  const all = new Map(kept.map((each) => [each.number, each]));
  for (const each of fresh) all.set(each.number, each);
  return [...all.values()].sort((one, other) => one.number - other.number).slice(-MOST_KEPT);
}

function forget(store, number) {
  store.rounds.delete(number);
  store.rows.delete(number);
}
