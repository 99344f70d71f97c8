// The shown round close up: what came of it, its phases on a time axis, and when each report came in.

import { element, heading, replace, shape } from "./dom.js";
import { duration, metricValue, plural, shortened, whole } from "./format.js";
import { badge } from "./glyphs.js";
import { linear, ticks } from "./scale.js";
import { brokerNow, clientsOf, rowsOf } from "./store.js";
import { lengthOf, PHASES } from "./timeline.js";
import { hideTip, showTip } from "./tip.js";
import { isLive, shownRound } from "./view.js";

const LANE = 26;
const MOST_NAMES = 6;
const MOST_REFUSALS = 4;

export function newDetail(card) {
  const title = element("span", {});
  const numbers = element("dl", { class: "numbers" });
  const drawing = shape("svg", { class: "chart", role: "img" });
  const note = element("p", { class: "note" });
  const names = element("div", { class: "who" });
  const model = element("p", { class: "hash" });
  replace(card, heading("detail", title), numbers, element("figure", {}, drawing), note, names, model);
  drawing.addEventListener("pointerleave", hideTip);
  return { card, title, numbers, drawing, note, names, model };
}

export function renderDetail(detail, view) {
  const number = shownRound(view);
  const round = view.store.rounds.get(number);
  detail.card.classList.toggle("empty", !round);
  detail.title.textContent = round ? `Round ${number}${round.training ? "" : ", evaluation of the final model"}` : "Round";
  if (!round) {
    replace(detail.numbers);
    replace(detail.drawing);
    detail.note.textContent = view.store.federation?.opened ? "No round is open yet." : "Nobody has opened this federation yet.";
    replace(detail.names);
    replace(detail.model);
    return;
  }
  const now = brokerNow(view.store);
  replace(detail.numbers, facts(view, round, now));
  drawPhases(detail, view, round, now);
  detail.note.textContent = aboutRows(view, round);
  replace(detail.names, awaited(view, round), refusals(view, round));
  replace(detail.model, round.model ? ["next model ", element("code", { title: round.model }, `${round.model.slice(0, 16)}…`)] : []);
}

function facts(view, round, now) {
  const { settings } = view.store.federation;
  const known = round.rows !== "deleted";
  const found = [
    ["reported", known ? whole(round.reported) : whole(round.cohort ?? 0), settings.max_clients ? `of ${whole(settings.max_clients)} awaited` : ""],
    ["refused", known ? whole(round.refused) : "–", ""],
    ["time", duration(lengthOf(round, now)), round.closed ? "" : "so far"],
  ];
  const metrics = Object.keys(round.evaluate).length ? round.evaluate : round.train;
  const name = Object.keys(metrics).find((each) => /acc/i.test(each)) ?? Object.keys(metrics)[0];
  if (name) found.push([name, metricValue(name, metrics[name]), metrics === round.evaluate ? "received model" : "training"]);
  else found.push(["examples", round.examples == null ? "–" : whole(round.examples), ""]);
  return found.map(([what, value, more]) =>
    element("div", { class: `number number-${what}` }, element("dt", {}, what), element("dd", {}, value, more ? element("small", {}, more) : null)),
  );
}

// Phases as bars on one axis, and below them a mark for each report.
function drawPhases(detail, view, round, now) {
  const { drawing } = detail;
  const width = Math.max(220, drawing.parentElement.clientWidth);
  const phases = [...PHASES, ...(round.phases.some(([phase]) => phase === "closing") ? ["closing"] : [])].filter((phase) => round.training || phase === "collecting" || phase === "sealing");
  const height = (phases.length + 1) * LANE + 40;
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.setAttribute("height", height);
  const end = Math.max(lengthOf(round, now), 0.001);
  const x = linear(0, end, 82, width - 52);
  const lanes = phases.map((phase, index) => lane(phase, index, round, x, width, now, end));
  const rows = [...rowsOf(view.store, round.number).values()];
  const y = phases.length * LANE;
  replace(
    drawing,
    ticks(0, end, 4).map((value) => shape("line", { x1: x(value), x2: x(value), y1: 0, y2: height - 24, class: "grid-line" })),
    lanes,
    shape("text", { x: 74, y: y + 17, class: "lane-name" }, "reports"),
    rows.map((row) => reportMark(row, x, y, end, view)),
    ticks(0, end, 4).map((value) => shape("text", { x: x(value), y: height - 8, class: "tick tick-x" }, axisTime(value, end))),
  );
  drawing.setAttribute("aria-label", round.phases.map(([phase, from, to]) => `${phase} ${duration((to ?? now) - from)}`).join(", "));
}

function lane(phase, index, round, x, width, now, end) {
  const stretches = round.phases.filter(([name]) => name === phase);
  const y = index * LANE;
  const total = stretches.reduce((sum, [, from, to]) => sum + (to ?? now) - from, 0);
  return shape(
    "g",
    {},
    shape("text", { x: 74, y: y + 17, class: "lane-name" }, phase),
    stretches.map(([, from, to]) => {
      const left = x(Math.min(end, from - round.opened));
      const right = x(Math.min(end, (to ?? now) - round.opened));
      return shape("rect", { x: left, y: y + 5, width: Math.max(2, right - left), height: LANE - 10, rx: 4, class: `bar bar-${phase}${to == null ? " bar-open" : ""}` });
    }),
    shape("text", { x: width - 4, y: y + 17, class: "lane-time" }, stretches.length ? duration(total) : ""),
  );
}

function reportMark(row, x, y, end, view) {
  const at = x(Math.min(end, row.seconds));
  const chosen = row.client === view.client ? " chosen" : "";
  const show = (event) => showTip(event.clientX, event.clientY, row.client, [["after", duration(row.seconds)], ["examples", whole(row.examples)], ...(row.reason ? [["", row.reason]] : [])]);
  const mark = row.outcome === "refused" ? `M${at - 3.5} ${y + 9}l7 8m0 -8l-7 8` : `M${at} ${y + 6}v14`;
  return shape("path", { d: mark, class: `report report-${row.outcome}${chosen}`, onpointermove: show });
}

// Whom an open round still waits for.
function awaited(view, round) {
  if (round.closed || !isLive(view)) return null;
  const rows = rowsOf(view.store, round.number);
  const missing = clientsOf(view.store).filter((party) => party.here && !rows.has(party.name));
  if (!missing.length) return null;
  const more = missing.length > MOST_NAMES ? ` and ${whole(missing.length - MOST_NAMES)} more` : "";
  const named = missing.slice(0, MOST_NAMES).map((party) => shortened(party.name, 28)).join(", ");
  return element("p", { class: "note" }, `Not heard from yet: ${named}${more}.`);
}

function refusals(view, round) {
  const refused = [...rowsOf(view.store, round.number).values()].filter((row) => row.outcome === "refused");
  if (!refused.length) return null;
  return element(
    "ul",
    { class: "refusals" },
    refused.slice(0, MOST_REFUSALS).map((row) =>
      element("li", {}, badge("refused"), element("span", {}, element("b", {}, shortened(row.client, 40)), " ", shortened(row.reason, 140))),
    ),
    refused.length > MOST_REFUSALS ? element("li", { class: "note" }, `and ${whole(refused.length - MOST_REFUSALS)} more`) : null,
  );
}

function axisTime(value, end) {
  if (end < 1) return `${Math.round(value * 1000)} ms`;
  return end < 300 ? `${Number(value.toPrecision(3))} s` : `${Number((value / 60).toPrecision(3))} min`;
}

function aboutRows(view, round) {
  const keep = view.store.federation.settings.keep_rounds;
  if (round.rows === "deleted") {
    return `The reports of this round are no longer in the log: with --keep-rounds ${keep} servers delete older ones. What the round came to stays in control.`;
  }
  if (round.rows === "dropped") return "So many reports came since that single ones of this round are no longer held here; its sums are.";
  const gone = round.extensions.length ? `Extended ${plural(round.extensions.length, "time")}: the deadline passed with too few reports. ` : "";
  return isLive(view) && !round.closed && round.training ? `${gone}It needs ${whole(view.store.federation.settings.min_clients)} reports.` : gone;
}
