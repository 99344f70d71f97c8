// The rounds side by side, each as high as it was long and cut into its phases.

import { element, heading, replace, shape } from "./dom.js";
import { gridLines } from "./axis.js";
import { duration, whole } from "./format.js";
import { linear } from "./scale.js";
import { brokerNow } from "./store.js";
import { hideTip, showTip } from "./tip.js";
import { roundsOf, shownRound } from "./view.js";

const HEIGHT = 232;
const LEAST_STEP = 9; // pixels a round
export const PHASES = ["collecting", "comparing", "publishing", "sealing"];

export function newTimeline(card, choose) {
  const drawing = shape("svg", { class: "chart", role: "img" });
  const key = element("ul", { class: "key" }, PHASES.map((phase) => element("li", { class: `key-${phase}` }, phase)));
  const note = element("p", { class: "note" });
  replace(card, heading("timeline", "Rounds", key), element("figure", {}, drawing), note);
  drawing.addEventListener("pointerleave", hideTip);
  return { card, drawing, note, choose };
}

export function renderTimeline(timeline, view) {
  const { drawing } = timeline;
  const width = Math.max(240, drawing.parentElement.clientWidth);
  drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  drawing.setAttribute("height", HEIGHT);
  const box = { x: 50, y: 16, width: width - 58, height: HEIGHT - 46 };
  const rounds = inSight(view, Math.floor(box.width / LEAST_STEP));
  if (!rounds.length) {
    replace(drawing, shape("text", { x: width / 2, y: HEIGHT / 2, class: "nothing" }, "no round yet"));
    return;
  }
  const now = brokerNow(view.store);
  const lengths = rounds.map((round) => lengthOf(round, now));
  const cap = limit(lengths);
  const y = linear(0, cap, box.y + box.height, box.y);
  const step = Math.min(64, box.width / rounds.length);
  const bars = rounds.map((round, index) => drawRound(timeline, view, round, box.x + index * step, step, y, cap, now, box));
  replace(drawing, gridLines(box, y, 0, cap, (value) => shortTime(value, cap)), bars, numbers(rounds, box, step));
  const total = lengths.reduce((one, other) => one + other, 0);
  drawing.setAttribute("aria-label", `${rounds.length} rounds, together ${duration(total)}`);
  timeline.note.textContent = summary(view, rounds);
}

// As many rounds as fit, with the shown one among them.
function inSight(view, most) {
  const all = roundsOf(view);
  if (all.length <= most) return all;
  const index = all.findIndex((round) => round.number === shownRound(view));
  const first = Math.max(0, Math.min(all.length - most, index - Math.floor(most * 0.7)));
  return all.slice(first, first + most);
}

export function lengthOf(round, now) {
  return Math.max(0, (round.closed ?? now) - round.opened);
}

// One very long round must not flatten the others: it is cut off and says so.
function limit(lengths) {
  const sorted = [...lengths].sort((one, other) => one - other);
  const usual = sorted[Math.floor((sorted.length - 1) * 0.8)];
  const longest = sorted[sorted.length - 1];
  return (longest > 3 * usual && usual > 0 ? usual * 1.6 : longest * 1.08) || 1;
}

function drawRound(timeline, view, round, left, step, y, cap, now, box) {
  const gap = step > 14 ? 5 : 2;
  const length = lengthOf(round, now);
  const chosen = round.number === shownRound(view) ? " chosen" : "";
  const bars = round.phases.map(([phase, start, end]) => {
    const from = Math.min(cap, start - round.opened);
    const to = Math.min(cap, (end ?? now) - round.opened);
    const top = y(Math.max(from, to));
    const height = y(from) - top;
    return shape("rect", { x: left + gap / 2, y: top, width: step - gap, height: Math.max(height, height > 0 ? 0.6 : 0), class: `bar bar-${phase}${end == null ? " bar-open" : ""}` });
  });
  const show = (event) => showTip(event.clientX, event.clientY, `round ${round.number}`, lines(round, now));
  return shape(
    "g",
    { class: `round${chosen}`, "data-round": round.number, onclick: () => timeline.choose.round(round.number), onpointermove: show },
    shape("rect", { x: left, y: 0, width: step, height: box.y + box.height + 26, rx: 5, class: "behind" }),
    bars,
    length > cap ? cutOff(left + step / 2, step - gap, box.y, length) : null,
  );
}

function cutOff(middle, width, top, length) {
  const half = width / 2 + 1;
  return shape(
    "g",
    { class: "cut-off" },
    shape("path", { d: `M${middle - half} ${top + 12}l${half} -4l${half} 4v4l${-half} -4l${-half} 4z` }),
    shape("text", { x: middle, y: top - 5 }, duration(length)),
  );
}

function numbers(rounds, box, step) {
  const every = Math.max(1, Math.ceil(26 / step));
  return rounds.map((round, index) =>
    round.number % every === 0 || rounds.length <= 12
      ? shape("text", { x: box.x + (index + 0.5) * step, y: box.y + box.height + 18, class: "tick tick-x" }, round.training ? round.number : "eval")
      : null,
  );
}

function lines(round, now) {
  const found = round.phases.map(([phase, start, end]) => [phase, duration((end ?? now) - start)]);
  found.unshift(["in all", duration(lengthOf(round, now))]);
  found.push(["reported", whole(round.reported)]);
  if (round.refused) found.push(["refused", whole(round.refused)]);
  if (round.extensions.length) found.push(["extended", `${round.extensions.length} ×`]);
  return found;
}

function shortTime(value, cap) {
  if (cap < 1) return `${Math.round(value * 1000)} ms`;
  return cap < 300 ? `${Number(value.toPrecision(3))} s` : `${Number((value / 60).toPrecision(3))} min`;
}

// The round that goes on is not one of those whose length is known.
function summary(view, rounds) {
  const sorted = rounds.filter((round) => round.closed != null).map((round) => lengthOf(round, 0)).sort((one, other) => one - other);
  const all = view.store.rounds.size;
  const which = rounds.length < all ? `rounds ${rounds[0].number} to ${rounds[rounds.length - 1].number} of ${whole(all)}; ` : "";
  if (!sorted.length) return `${which}none is over yet`;
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return `${which}in the median a round took ${duration(median)}`;
}
