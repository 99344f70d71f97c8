// What the federation was opened with, and the hashes that name its models.

import { element, heading, replace } from "./dom.js";
import { bytes, plural, whole } from "./format.js";
import { roundsOf } from "./view.js";

export function newFacts(card) {
  const list = element("dl", { class: "facts-list" });
  const hashes = element("div", { class: "scroll hashes", tabindex: 0, role: "region", "aria-label": "model hashes" });
  const more = element("details", {}, element("summary", {}, "Model hashes, round by round"), hashes);
  replace(card, heading("facts", "Federation"), list, more);
  return { list, hashes, more, signature: "" };
}

export function renderFacts(facts, view) {
  const federation = view.store.federation;
  const rounds = roundsOf(view).filter((round) => round.model);
  const signature = `${federation?.phase} ${rounds.length}`;
  if (signature === facts.signature) return;
  facts.signature = signature;
  facts.more.hidden = !rounds.length;
  if (!federation?.settings) return replace(facts.list);
  replace(facts.list, pairs(federation).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  return replace(
    facts.hashes,
    element(
      "table",
      {},
      element("tbody", {}, [...rounds].reverse().map((round) => element("tr", {}, element("th", { scope: "row" }, `after round ${round.number}`), element("td", {}, element("code", {}, round.model))))),
    ),
  );
}

function pairs({ settings, config, shards, tensors, elements, chunks, sizes, fingerprint, finished }) {
  const sum = (all) => all.reduce((one, other) => one + other, 0);
  const found = [
    ["strategy", settings.strategy],
    ["clients a round", settings.min_clients === settings.max_clients ? whole(settings.min_clients) : `${whole(settings.min_clients)} to ${whole(settings.max_clients)}`],
    ["deadline", `${settings.deadline_seconds} s`],
    ["fraction asked", String(settings.fraction)],
    ["model", `${plural(elements, "element")} in ${plural(tensors, "tensor")}, ${bytes(sum(sizes.model))}`],
    ["cut into", `${plural(chunks, "chunk")}, ${plural(shards, "shard")}`],
    ["codecs", `updates ${settings.codec}, models ${settings.model_codec}`],
    ["keeps rounds", settings.keep_rounds ? whole(settings.keep_rounds) : "all"],
    ["seed", String(settings.seed)],
    ["layout", `${fingerprint.slice(0, 16)}…`],
    ...Object.entries(config).filter(([name]) => name !== "seed").map(([name, value]) => [name, value]),
  ];
  if (finished) found.push([finished.failed ? "failed" : "finished", finished.reason]);
  return found;
}
