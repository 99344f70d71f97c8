// Accuracy, loss and whatever else is measured, over the rounds: federated, by a server, and of the clients.

import { element, heading, replace, shape } from "./dom.js";
import { gridLines, roundTicks } from "./axis.js";
import { isShare, metricValue } from "./format.js";
import { extent, linear } from "./scale.js";
import { rowsOf } from "./store.js";
import { hideTip, showTip } from "./tip.js";
import { roundsOf, shownRound } from "./view.js";

const HEIGHT = 232;
const MOST_LINES = 40; // with more clients the band alone is drawn
const SERIES = [
  { key: "global", words: "server's test data" },
  { key: "evaluate", words: "clients' data, mean" },
  { key: "train", words: "training, mean" },
];

// Metrics of a model stand at the number of rounds that made it: what round n evaluates came out of round n - 1.
function points(view, metric) {
  const found = { global: [], evaluate: [], train: [], band: [], clients: new Map() };
  for (const round of roundsOf(view)) {
    add(found.evaluate, round.number - 1, round.evaluate[metric]);
    add(found.train, round.number, round.train[metric]);
    const evaluated = round.spread.evaluate?.[metric];
    const spread = evaluated ?? round.spread.train?.[metric];
    const at = evaluated ? round.number - 1 : round.number;
    if (spread) found.band.push([at, spread]);
    for (const row of rowsOf(view.store, round.number).values()) {
      if (row.outcome !== "reported") continue;
      const value = row.evaluated[metric] ?? (evaluated ? null : row.metrics[metric]);
      if (value == null) continue;
      if (!found.clients.has(row.client)) found.clients.set(row.client, []);
      found.clients.get(row.client).push([at, value]);
    }
  }
  for (const [number, metrics] of view.store.evaluations) add(found.global, number - 1, metrics[metric]);
  found.global.sort((one, other) => one[0] - other[0]);
  return found;
}

function add(series, at, value) {
  if (value != null) series.push([at, value]);
}

export function newCurves(card) {
  const charts = [0, 1].map((index) => {
    const select = element("select", { "aria-label": `metric of chart ${index + 1}` });
    const drawing = shape("svg", { class: "chart", role: "img" });
    return { select, drawing, chosen: null, box: element("figure", {}, select, drawing) };
  });
  const key = element("ul", { class: "key" });
  replace(card, heading("curves", "Curves", key), element("div", { class: "pair-of-charts" }, charts.map((chart) => chart.box)));
  return { card, charts, key };
}

export function renderCurves(curves, view, redraw) {
  const names = metricNames(view);
  const defaults = [names[0], names[1]];
  curves.charts.forEach((chart, index) => {
    if (!names.includes(chart.chosen)) chart.chosen = null;
    const metric = chart.chosen ?? defaults[index];
    chart.box.hidden = !metric && index > 0;
    fill(chart, names, metric, redraw);
    drawChart(chart, view, metric);
  });
  replace(
    curves.key,
    SERIES.map(({ key, words }) => element("li", { class: `key-${key}` }, words)),
    element("li", { class: "key-band" }, "clients, least to most and middle half"),
    view.client ? element("li", { class: "key-client" }, view.client) : null,
  );
}

// Accuracies first, then losses, then the rest.
function metricNames(view) {
  const names = new Set();
  for (const round of roundsOf(view)) {
    for (const metrics of [round.evaluate, round.train, round.spread.evaluate ?? {}, round.spread.train ?? {}]) {
      Object.keys(metrics).forEach((name) => names.add(name));
    }
  }
  for (const metrics of view.store.evaluations.values()) Object.keys(metrics).forEach((name) => names.add(name));
  const rank = (name) => (/acc/i.test(name) ? 0 : /loss/i.test(name) ? 1 : 2);
  return [...names].sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
}

function fill(chart, names, metric, redraw) {
  const signature = JSON.stringify([names, metric]);
  if (chart.signature === signature) return;
  chart.signature = signature;
  replace(chart.select, names.map((name) => element("option", { value: name, selected: name === metric }, name)));
  chart.select.hidden = !names.length;
  chart.select.onchange = () => {
    chart.chosen = chart.select.value;
    redraw();
  };
}

function drawChart(chart, view, metric) {
  const width = Math.max(240, chart.box.clientWidth);
  chart.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  chart.drawing.setAttribute("height", HEIGHT);
  const found = metric ? points(view, metric) : null;
  const all = found ? everything(found) : [];
  if (!all.length) {
    replace(chart.drawing, shape("text", { x: width / 2, y: HEIGHT / 2, class: "nothing" }, "nothing measured yet"));
    chart.drawing.setAttribute("aria-label", "nothing measured yet");
    return;
  }
  const box = { x: 50, y: 10, width: width - 62, height: HEIGHT - 40 };
  const first = Math.min(...all.map(([at]) => at));
  const last = Math.max(first + 1, ...all.map(([at]) => at));
  const [low, high] = range(metric, all.map(([, value]) => value));
  const x = linear(first, last, box.x, box.x + box.width);
  const y = linear(low, high, box.y + box.height, box.y);
  const cursor = Math.max(first, Math.min(last, shownRound(view) - 1));
  replace(
    chart.drawing,
    gridLines(box, y, low, high, (value) => axisValue(metric, value, high - low)),
    roundTicks(box, x, first, last),
    shape("line", { x1: x(cursor), x2: x(cursor), y1: box.y, y2: box.y + box.height, class: "cursor" }),
    bands(found.band, x, y),
    clientLines(found.clients, view, x, y),
    [...SERIES].reverse().flatMap(({ key }) => series(found[key], key, x, y)),
    view.client && found.clients.has(view.client) ? series(found.clients.get(view.client), "client", x, y) : null,
  );
  chart.drawing.setAttribute("aria-label", spoken(metric, found));
  watchPointer(chart, metric, found, x, first, last, box, view);
}

function everything(found) {
  const spreads = found.band.flatMap(([at, five]) => [[at, five[0]], [at, five[4]]]);
  const clients = [...found.clients.values()].flat();
  return [...found.global, ...found.evaluate, ...found.train, ...spreads, ...clients];
}

function range(metric, values) {
  const [low, high] = extent(values);
  if (!isShare(metric)) return [Math.min(...values) >= 0 ? Math.max(0, low) : low, high];
  return [Math.max(0, low), Math.max(...values) <= 1 ? Math.min(1, high) : high];
}

function axisValue(metric, value, span) {
  if (isShare(metric)) return `${(100 * value).toFixed(span < 0.05 ? 1 : 0)} %`;
  return Math.abs(value) >= 1e4 ? value.toExponential(0) : String(Number(value.toPrecision(6)));
}

function bands(band, x, y) {
  if (band.length < 2) return band.map(([at, five]) => shape("line", { x1: x(at), x2: x(at), y1: y(five[0]), y2: y(five[4]), class: "band-one" }));
  const sorted = [...band].sort((one, other) => one[0] - other[0]);
  return [[0, 4, "band-all"], [1, 3, "band-half"]].map(([lowest, highest, name]) => {
    const upper = sorted.map(([at, five]) => `${x(at)} ${y(five[highest])}`);
    const lower = sorted.map(([at, five]) => `${x(at)} ${y(five[lowest])}`).reverse();
    return shape("path", { d: `M${[...upper, ...lower].join("L")}Z`, class: name });
  });
}

function clientLines(clients, view, x, y) {
  if (clients.size > MOST_LINES) return null;
  return [...clients.values()].map((values) => shape("path", { d: line(values, x, y), class: "line line-one" }));
}

function series(values, key, x, y) {
  if (!values.length) return [];
  const [at, value] = values[values.length - 1];
  const found = [shape("path", { d: line(values, x, y), class: `line line-${key}` })];
  if (values.length <= 40) {
    found.push(...values.map(([each, what]) => shape("circle", { cx: x(each), cy: y(what), r: 2.4, class: `dot dot-${key}` })));
  }
  found.push(shape("circle", { cx: x(at), cy: y(value), r: 4, class: `dot dot-${key}` }));
  return found;
}

function line(values, x, y) {
  const sorted = [...values].sort((one, other) => one[0] - other[0]);
  return `M${sorted.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`;
}

function spoken(metric, found) {
  const last = (values) => (values.length ? metricValue(metric, values[values.length - 1][1]) : "not measured");
  return `${metric}: ${SERIES.map(({ key, words }) => `${words} ${last(found[key])}`).join("; ")}`;
}

function watchPointer(chart, metric, found, x, first, last, box, view) {
  chart.drawing.onpointermove = (event) => {
    const left = event.clientX - chart.drawing.getBoundingClientRect().left;
    const at = Math.round(first + ((left - box.x) / box.width) * (last - first));
    if (at < first || at > last) return hideTip();
    const of = (values) => values?.find(([each]) => each === at)?.[1];
    const lines = SERIES.map(({ key, words }) => [words, of(found[key])]);
    const five = of(found.band);
    if (five) lines.push(["clients, least", five[0]], ["clients, median", five[2]], ["clients, most", five[4]]);
    if (view.client) lines.push([view.client, of(found.clients.get(view.client))]);
    const known = lines.filter(([, value]) => value != null).map(([name, value]) => [name, metricValue(metric, value)]);
    return showTip(event.clientX, event.clientY, `${metric} after ${at} round${at === 1 ? "" : "s"}`, known);
  };
  chart.drawing.onpointerleave = hideTip;
}
