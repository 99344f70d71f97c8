// Dots that run along the picture's links as data does. Nothing moves for those who asked for less motion.

import { cellCentre, curve, pointOn, serverEnd } from "./layout.js";

const MOST_DOTS = 260;
const MOST_AT_ONCE = 60; // of one happening; with more clients some stand for all
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");

export function newFlow(canvas) {
  return { canvas, placed: null, clients: [], servers: [], dots: [], running: false };
}

export function happen(flow, happenings) {
  if (STILL.matches || document.hidden || !flow.placed) return;
  const reports = happenings.filter((each) => each.kind === "reported");
  for (const each of happenings) {
    if (each.kind === "opened") spread(flow);
    if (each.kind === "published") flow.servers.forEach((server) => publish(flow, server, each.shards));
  }
  thinned(reports).forEach((each, index) => upload(flow, each.client, index));
  if (flow.dots.length && !flow.running) {
    flow.running = true;
    requestAnimationFrame((now) => frame(flow, now));
  }
}

// The model goes to every client.
function spread(flow) {
  thinned(flow.clients).forEach((client, index) => {
    const path = curve(flow.placed, "model", clientPlace(flow, client.name));
    add(flow, { path, colour: "--flow-model", wait: (index % 12) * 28, takes: 900, size: 3.2 });
  });
}

// A client's update goes to the log and on to those who sum it up; its report follows.
function upload(flow, name, index) {
  const target = clientPlace(flow, name);
  if (!target) return;
  const wait = (index % 10) * 30;
  const path = curve(flow.placed, "updates", target).reverse();
  const then = () =>
    flow.servers.slice(0, 8).forEach((server) => {
      if (server.party.here) add(flow, { path: serverPath(flow, "updates", server), colour: "--flow-update", wait: 0, takes: 620, size: 2.6 });
    });
  add(flow, { path, colour: "--flow-update", wait, takes: 760, size: 3.4, then });
  const report = curve(flow.placed, "reports", target).reverse();
  add(flow, { path: report, colour: "--flow-report", wait: wait + 240, takes: 760, size: 2.2 });
}

function publish(flow, server, shards) {
  if (!shards.some((shard) => server.shards.includes(shard))) return;
  const path = serverPath(flow, "model", server).reverse();
  for (let index = 0; index < 4; index += 1) {
    add(flow, { path, colour: "--flow-model", wait: index * 90, takes: 640, size: 3.2 });
  }
}

function serverPath(flow, lane, server) {
  return curve(flow.placed, lane, serverEnd(flow.placed, server.box));
}

function clientPlace(flow, name) {
  const index = flow.clients.findIndex((client) => client.name === name);
  if (index < 0) return null;
  const { circles, cells } = flow.placed;
  return circles ? circles[index] : cellCentre(cells, Math.floor(index / cells.each));
}

function add(flow, dot) {
  if (flow.dots.length < MOST_DOTS) flow.dots.push({ ...dot, start: performance.now() + dot.wait });
}

function thinned(all) {
  if (all.length <= MOST_AT_ONCE) return all;
  return Array.from({ length: MOST_AT_ONCE }, (_, index) => all[Math.floor((index * all.length) / MOST_AT_ONCE)]);
}

function frame(flow, now) {
  const { canvas } = flow;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const dot of flow.dots) draw(pen, style, dot, (now - dot.start) / dot.takes);
  const done = flow.dots.filter((dot) => now - dot.start >= dot.takes);
  flow.dots = flow.dots.filter((dot) => now - dot.start < dot.takes);
  done.forEach((dot) => dot.then?.());
  flow.running = flow.dots.length > 0;
  if (flow.running) requestAnimationFrame((next) => frame(flow, next));
  else pen.clearRect(0, 0, canvas.width, canvas.height);
}

// A dot with a short tail.
function draw(pen, style, dot, share) {
  if (share < 0 || share >= 1) return;
  pen.fillStyle = style.getPropertyValue(dot.colour);
  for (let tail = 3; tail >= 0; tail -= 1) {
    const along = eased(Math.max(0, share - tail * 0.022));
    const { x, y } = pointOn(dot.path, along);
    pen.globalAlpha = tail === 0 ? 1 : 0.32 / tail;
    pen.beginPath();
    pen.arc(x, y, dot.size * (1 - tail * 0.14), 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function eased(share) {
  return share < 0.5 ? 2 * share * share : 1 - (2 - 2 * share) ** 2 / 2;
}
