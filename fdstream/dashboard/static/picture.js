// The nodes as a picture: servers with their shards, the log, clients by state, and what flows between them.

import { element, heading, replace, shape } from "./dom.js";
import { happen, newFlow } from "./flow.js";
import { plural, shortened, whole } from "./format.js";
import { badge, glyph } from "./glyphs.js";
import { cellAt, cellCentre, curve, pathOf, pictureHeight, place, serverEnd } from "./layout.js";
import { clientsOf, serversOf } from "./store.js";
import { hideTip, showTip } from "./tip.js";
import { isLive, reasonOf, shownRound, stateCounts, stateOf, STATES } from "./view.js";

const MOST_CHIPS = 8;
const LANE_WORDS = { control: "control", model: "model", updates: "updates", reports: "reports", shards: "shards" };

export function newPicture(card, choose) {
  const legend = element("ul", { class: "legend" });
  const drawing = shape("svg", { class: "drawing", role: "img" });
  const canvas = element("canvas", { "aria-hidden": "true" });
  const stage = element("div", { class: "stage" }, drawing, canvas);
  replace(card, heading("picture", "Nodes", element("p", { class: "note", id: "picture-note" })), stage, legend);
  const picture = { card, legend, drawing, canvas, stage, choose, flow: newFlow(canvas), view: null, cells: null };
  drawing.addEventListener("pointermove", (event) => pointAt(picture, event));
  drawing.addEventListener("pointerleave", hideTip);
  drawing.addEventListener("click", (event) => choose.client(clientUnder(picture, event)?.name ?? null));
  return picture;
}

export function renderPicture(picture, view, happenings) {
  picture.view = view;
  const clients = clientsOf(view.store);
  const servers = serversOf(view.store).filter((party) => party.here || isRecent(view, party));
  const width = Math.max(280, picture.stage.clientWidth);
  const height = pictureHeight(width, servers.length, clients.length);
  const placed = place(width, height, servers.length, clients.length);
  size(picture, width, height);
  const boxes = servers.map((party, index) => ({ party, box: placed.servers[index], shards: shardsOf(party) }));
  Object.assign(picture.flow, { placed, clients, servers: boxes });
  Object.assign(picture, { clients, placed });
  replace(
    picture.drawing,
    links(view, placed, boxes, clients),
    drawLog(view, placed),
    boxes.map((server) => drawServer(view, server)),
    placed.circles ? drawCircles(view, placed.circles, clients) : drawCells(view, placed.cells, clients),
  );
  describe(picture, view, servers, clients);
  if (isLive(view)) happen(picture.flow, happenings);
}

// Those who are gone for good leave the picture once others have taken over.
function isRecent(view, party) {
  const others = serversOf(view.store).filter((each) => each.here);
  return !others.length || party.state !== "gone" || view.store.now - party.first < 120;
}

function shardsOf(party) {
  return party.shards ? party.shards.split(" ").map(Number) : [];
}

function size(picture, width, height) {
  const ratio = window.devicePixelRatio || 1;
  picture.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.drawing.setAttribute("height", height);
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (picture.canvas.width !== wide || picture.canvas.height !== high) {
    Object.assign(picture.canvas, { width: wide, height: high });
    picture.canvas.style.width = `${width}px`;
    picture.canvas.style.height = `${height}px`;
  }
}

// Links

function links(view, placed, servers, clients) {
  const lines = servers.flatMap(({ party, box }) =>
    ["model", "updates"].map((lane) =>
      shape("path", {
        d: pathOf(curve(placed, lane, serverEnd(placed, box))),
        class: `link link-${lane}${party.here ? "" : " link-gone"}`,
      }),
    ),
  );
  if (placed.circles) {
    clients.forEach((party, index) => {
      const gone = stateOf(view, party) === "gone" ? " link-gone" : "";
      for (const lane of ["model", "updates"]) {
        lines.push(
          shape("path", { d: pathOf(curve(placed, lane, placed.circles[index])), class: `link link-${lane}${gone}` }),
        );
      }
    });
  } else {
    lines.push(...ribbons(placed));
  }
  return shape("g", { class: "links" }, lines);
}

// With many clients two ribbons stand for all their links.
function ribbons(placed) {
  const { cells } = placed;
  const ends = placed.wide
    ? [
        { x: cells.x - 4, y: cells.y },
        { x: cells.x - 4, y: cells.y + cells.rows * cells.size },
      ]
    : [
        { x: cells.x, y: cells.y - 4 },
        { x: cells.x + cells.columns * cells.size, y: cells.y - 4 },
      ];
  return ["model", "updates"].map((lane) => {
    const [one, other] = ends.map((end) => curve(placed, lane, end));
    const back = [...other].reverse();
    const d = `${pathOf(one)}L${back[0].x} ${back[0].y}C${back[1].x} ${back[1].y} ${back[2].x} ${back[2].y} ${back[3].x} ${back[3].y}Z`;
    return shape("path", { d, class: `ribbon ribbon-${lane}` });
  });
}

// The log

function drawLog(view, placed) {
  const { log, lanes } = placed;
  const round = view.store.rounds.get(shownRound(view));
  return shape(
    "g",
    { class: "log" },
    shape("rect", { x: log.x, y: log.y, width: log.width, height: log.height, rx: 14, class: "log-body" }),
    shape("text", { x: log.x + log.width / 2, y: log.y + 20, class: "log-title" }, "Kafka"),
    Object.entries(lanes).map(([name, lane]) => drawLane(name, lane, laneCount(name, round))),
  );
}

function drawLane(name, lane, count) {
  const middle = lane.y + lane.height / 2;
  const notches = Math.max(0, Math.floor((lane.width - 12) / 7));
  const marks = Array.from({ length: notches }, (_, index) => `M${lane.x + 8 + index * 7} ${lane.y + lane.height - 5}v-3`);
  return shape(
    "g",
    { class: `lane lane-${name}` },
    shape("rect", { x: lane.x, y: lane.y, width: lane.width, height: lane.height, rx: 7 }),
    lane.height > 30 ? shape("path", { d: marks.join(""), class: "notches" }) : null,
    shape("text", { x: lane.x + 9, y: middle + (lane.height > 30 ? 0 : 4) }, LANE_WORDS[name]),
    count ? shape("text", { x: lane.x + lane.width - 8, y: middle + (lane.height > 30 ? 0 : 4), class: "lane-count" }, count) : null,
  );
}

// How many records of the round lie in the topic, where that is known.
function laneCount(name, round) {
  if (!round) return "";
  if (name === "updates" && round.update_records) return whole(round.update_records);
  if (name === "reports" && round.reported + round.refused) return whole(round.reported + round.refused);
  if (name === "shards" && round.judged.length + round.published.length) return whole(round.judged.length + round.published.length);
  return "";
}

// Servers

function drawServer(view, { party, box, shards }) {
  const round = view.store.rounds.get(shownRound(view));
  const chips = shards.slice(0, MOST_CHIPS);
  const each = Math.min(26, (box.width - 20) / Math.max(1, chips.length));
  const letters = Math.floor((box.width - 24) / 6.8);
  const name = party.name.length > letters ? `…${party.name.slice(1 - letters)}` : party.name;
  return shape(
    "g",
    { class: `server ${party.here ? "" : "server-gone"}`, transform: `translate(${box.x} ${box.y})` },
    shape("title", {}, `${party.name}: ${party.state}${shards.length ? `, shards ${shards.join(", ")}` : ""}`),
    shape("rect", { width: box.width, height: box.height, rx: 11, class: "server-body" }),
    shape("text", { x: 12, y: 20, class: "server-name" }, name),
    shape("text", { x: 12, y: 36, class: "server-state" }, party.here ? `server · ${party.state}` : "server · gone"),
    party.here ? chips.map((shard, index) => drawChip(shard, 10 + index * each, each - 4, round)) : null,
    party.here && shards.length > MOST_CHIPS ? shape("text", { x: box.width - 8, y: 20, class: "more" }, `+${shards.length - MOST_CHIPS}`) : null,
  );
}

function drawChip(shard, x, width, round) {
  const stage = round?.published.includes(shard) ? "published" : round?.judged.includes(shard) ? "judged" : "idle";
  return shape(
    "g",
    { class: `chip chip-${stage}` },
    shape("title", {}, `shard ${shard}: ${{ published: "next model published", judged: "compared", idle: "reads updates" }[stage]}`),
    shape("rect", { x, y: 45, width, height: 19, rx: 5 }),
    shape("text", { x: x + width / 2, y: 58.5 }, shard),
  );
}

// Clients

function drawCircles(view, circles, clients) {
  return clients.map((party, index) => {
    const { x, y, radius, label, beside } = circles[index];
    const state = stateOf(view, party);
    const chosen = view.client === party.name ? " chosen" : "";
    return shape(
      "g",
      { class: `client state-${state}${chosen}`, transform: `translate(${x} ${y})`, "data-client": index },
      shape("circle", { r: radius + 5, class: "halo" }),
      shape("circle", { r: radius, class: "disc" }),
      shape("g", { transform: `scale(${radius / 11})` }, glyph(state)),
      label > 2 ? shape("text", beside ? { x: radius + 8, y: 4, class: "beside" } : { y: radius + 15 }, shortened(party.name, label)) : null,
    );
  });
}

// One path a state draws all its cells.
function drawCells(view, cells, clients) {
  const paths = Object.fromEntries(STATES.map((state) => [state, []]));
  const inner = cells.size - (cells.size > 7 ? 2 : 1);
  const corner = Math.min(3, inner / 4);
  for (let index = 0; index < cells.count; index += 1) {
    const { x, y } = cellCentre(cells, index);
    const members = clients.slice(index * cells.each, (index + 1) * cells.each);
    const state = most(members.map((party) => stateOf(view, party)));
    paths[state].push(rounded(x - inner / 2, y - inner / 2, inner, corner));
  }
  return shape(
    "g",
    { class: "cells" },
    STATES.map((state) => shape("path", { d: paths[state].join(""), class: `cell cell-${state}` })),
    cells.size >= 10 ? cellMarks(view, cells, clients) : null,
    chosenCell(view, cells, clients),
  );
}

// Cells large enough carry the mark of their state as well.
function cellMarks(view, cells, clients) {
  return clients.map((party, index) => {
    const state = stateOf(view, party);
    if (index % cells.each || state === "waiting") return null;
    const { x, y } = cellCentre(cells, index / cells.each);
    return glyph(state, { class: `cell-mark cell-mark-${state}`, transform: `translate(${x} ${y}) scale(${cells.size / 26})` });
  });
}

function chosenCell(view, cells, clients) {
  const index = clients.findIndex((party) => party.name === view.client);
  if (index < 0) return null;
  const { x, y } = cellCentre(cells, Math.floor(index / cells.each));
  return shape("circle", { cx: x, cy: y, r: cells.size * 0.9, class: "chosen-cell" });
}

function rounded(x, y, side, corner) {
  const straight = side - 2 * corner;
  const arc = (dx, dy) => `a${corner} ${corner} 0 0 1 ${dx} ${dy}`;
  return `M${x + corner} ${y}h${straight}${arc(corner, corner)}v${straight}${arc(-corner, corner)}h${-straight}${arc(-corner, -corner)}v${-straight}${arc(corner, -corner)}z`;
}

function most(states) {
  const counts = new Map();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].reduce((one, other) => (other[1] > one[1] ? other : one))[0];
}

// Words

function describe(picture, view, servers, clients) {
  const counts = stateCounts(view);
  const here = servers.filter((party) => party.here).length;
  document.getElementById("picture-note").textContent = isLive(view)
    ? `${plural(here, "server")}, ${plural(clients.length, "client")}`
    : `as round ${view.round} left them`;
  const words = STATES.map((state) => `${counts[state]} ${state}`).join(", ");
  picture.drawing.setAttribute("aria-label", `${plural(here, "server")}; clients: ${words}`);
  replace(
    picture.legend,
    STATES.map((state) =>
      element(
        "li",
        {},
        element(
          "button",
          {
            type: "button",
            class: `state-button${view.filter === state ? " on" : ""}`,
            "aria-pressed": view.filter === state ? "true" : "false",
            "data-state": state,
            "data-count": counts[state],
            title: `show the clients that are ${state}`,
            onclick: () => picture.choose.filter(view.filter === state ? null : state),
          },
          badge(state),
          element("b", {}, whole(counts[state])),
          state,
        ),
      ),
    ),
  );
}

function clientUnder(picture, event) {
  const { placed, clients } = picture;
  if (!placed) return null;
  if (placed.circles) {
    const group = event.target.closest("[data-client]");
    return group ? clients[Number(group.dataset.client)] : null;
  }
  const box = picture.drawing.getBoundingClientRect();
  const index = cellAt(placed.cells, event.clientX - box.left, event.clientY - box.top);
  return index < 0 ? null : clients[index * placed.cells.each];
}

function pointAt(picture, event) {
  const party = clientUnder(picture, event);
  if (!party) return hideTip();
  const { view } = picture;
  const lines = [["state", stateOf(view, party)], ["reports", whole(party.reports)]];
  const reason = reasonOf(view, party);
  if (reason) lines.push(["refused", reason]);
  return showTip(event.clientX, event.clientY, party.name, lines);
}
