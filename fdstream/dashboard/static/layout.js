// Where everything stands in the picture: numbers in, numbers out; knows no elements.

export const MOST_CIRCLES = 64; // with more clients than this each is a cell
export const MOST_CELLS = 2400; // with more than this a cell stands for several
const LANES = ["control", "model", "updates", "reports", "shards"];
const NARROW = 620;
const LEAST_STEP = 34; // pixels from one circle to the next

export function pictureHeight(width, servers, clients) {
  if (width >= NARROW) return clients > 24 ? 500 : Math.max(380, Math.min(560, 40 + servers * 92));
  const rows = clients > MOST_CIRCLES ? 9 : Math.ceil(clients / Math.max(1, Math.floor((width - 16) / 74)));
  return Math.ceil(servers / 2) * 88 + 208 + rows * (clients > MOST_CIRCLES ? 26 : 62);
}

export function place(width, height, servers, clients) {
  return width >= NARROW
    ? placeWide(width, height, servers, clients)
    : placeNarrow(width, height, servers, clients);
}

// Servers left, the log in the middle, clients right.
function placeWide(width, height, servers, clients) {
  const box = { width: Math.min(196, width * 0.23), height: 72 };
  const log = { x: width * 0.36, y: 34, width: Math.min(150, width * 0.17), height: height - 68 };
  const step = Math.min(104, (height - 24) / Math.max(1, servers));
  const top = height / 2 - (step * servers) / 2 + (step - box.height) / 2;
  const boxes = Array.from({ length: servers }, (_, index) => ({ x: 12, y: top + index * step, ...box }));
  const left = log.x + log.width + width * 0.11;
  const area = { x: left, y: 14, width: width - left - 14, height: height - 28 };
  return { wide: true, servers: boxes, log, lanes: lanesOf(log), ...placeClients(area, clients, true) };
}

// Servers above, the log below them, clients at the bottom.
function placeNarrow(width, height, servers, clients) {
  const box = { width: (width - 24) / 2, height: 72 };
  const boxes = Array.from({ length: servers }, (_, index) => ({
    x: 8 + (index % 2) * (box.width + 8),
    y: 4 + Math.floor(index / 2) * 88,
    ...box,
  }));
  const y = Math.ceil(servers / 2) * 88 + 26;
  const log = { x: 8, y, width: width - 16, height: 138 };
  const area = { x: 8, y: y + 164, width: width - 16, height: height - y - 170 };
  return { wide: false, servers: boxes, log, lanes: lanesOf(log), ...placeClients(area, clients, false) };
}

function lanesOf(log) {
  const head = 30;
  const step = (log.height - head - 10) / LANES.length;
  return Object.fromEntries(
    LANES.map((name, index) => [
      name,
      { x: log.x + 8, y: log.y + head + index * step, width: log.width - 16, height: Math.min(52, step - 6) },
    ]),
  );
}

function placeClients(area, clients, beside) {
  if (clients > MOST_CIRCLES) return { area, cells: placeCells(area, clients), circles: null };
  return { area, cells: null, circles: placeCircles(area, clients, beside) };
}

// Circles in columns that bend a little, each column half a step lower than the one before it, so that links pass
// between circles; names stand beside them or, where there is little width, below.
function placeCircles(area, clients, beside) {
  if (!clients) return [];
  const rows = beside ? Math.min(clients, Math.floor(area.height / LEAST_STEP)) : 0;
  const columns = beside ? Math.ceil(clients / rows) : Math.max(1, Math.min(clients, Math.floor(area.width / 74)));
  const down = Math.ceil(clients / columns);
  const step = Math.min(beside ? 58 : 66, area.height / (down + (columns > 1 && beside ? 0.5 : 0)));
  const across = Math.min(area.width / columns, beside ? 210 : 110);
  const radius = Math.max(8, Math.min(17, step * (beside ? 0.36 : 0.27)));
  return Array.from({ length: clients }, (_, index) => {
    const column = beside ? Math.floor(index / down) : index % columns;
    const row = beside ? index % down : Math.floor(index / columns);
    const inColumn = beside ? Math.min(down, clients - column * down) : down;
    const middle = (inColumn - 1) / 2;
    const shift = beside && columns > 1 ? (column % 2 ? 0.25 : -0.25) : 0;
    const bend = beside && middle > 1 ? 30 * (1 - ((row - middle) / middle) ** 2) : 0;
    const left = beside
      ? area.x + Math.max(0, (area.width - across * columns) * 0.45) + radius + 4 + bend
      : area.x + (area.width - across * columns) / 2 + across / 2;
    return {
      x: left + column * across,
      y: area.y + area.height / 2 + (beside ? row - middle + shift : row - (down - 1) / 2) * step - (beside ? 0 : 8),
      radius,
      beside,
      label: Math.max(0, Math.floor((beside ? across - 2 * radius - 44 : across) / 6.6)), // characters
    };
  });
}

function placeCells(area, clients) {
  const each = Math.ceil(clients / MOST_CELLS);
  const count = Math.ceil(clients / each);
  let size = Math.floor(Math.sqrt((area.width * area.height) / count));
  while (size > 3 && Math.floor(area.width / size) * Math.floor(area.height / size) < count) size -= 0.5;
  size = Math.min(size, 26);
  const columns = Math.max(1, Math.min(count, Math.floor(area.width / size)));
  const rows = Math.ceil(count / columns);
  const x = area.x + (area.width - columns * size) / 2;
  const y = area.y + (area.height - rows * size) / 2;
  return { each, count, size, columns, rows, x, y };
}

export function cellCentre(cells, index) {
  return {
    x: cells.x + ((index % cells.columns) + 0.5) * cells.size,
    y: cells.y + (Math.floor(index / cells.columns) + 0.5) * cells.size,
  };
}

export function cellAt(cells, x, y) {
  const column = Math.floor((x - cells.x) / cells.size);
  const row = Math.floor((y - cells.y) / cells.size);
  const index = row * cells.columns + column;
  return column >= 0 && column < cells.columns && row >= 0 && index < cells.count ? index : -1;
}

// A curve between a lane of the log and a place beside (or above or below) it, as four points.
export function curve(placed, lane, target) {
  const { log, lanes } = placed;
  const at = lanes[lane];
  if (placed.wide) {
    const right = target.x > log.x;
    const start = { x: right ? log.x + log.width : log.x, y: at.y + at.height / 2 };
    const middle = (start.x + target.x) / 2;
    return [start, { x: middle, y: start.y }, { x: middle, y: target.y }, target];
  }
  const below = target.y > log.y;
  const share = { model: 0.3, updates: 0.5, reports: 0.7 }[lane] ?? 0.5;
  const start = { x: log.x + log.width * share, y: below ? log.y + log.height : log.y };
  const middle = (start.y + target.y) / 2;
  return [start, { x: start.x, y: middle }, { x: target.x, y: middle }, target];
}

export function pathOf([a, b, c, d]) {
  return `M${a.x} ${a.y}C${b.x} ${b.y} ${c.x} ${c.y} ${d.x} ${d.y}`;
}

export function pointOn([a, b, c, d], share) {
  const rest = 1 - share;
  const weights = [rest ** 3, 3 * rest * rest * share, 3 * rest * share * share, share ** 3];
  const sum = (axis) => weights[0] * a[axis] + weights[1] * b[axis] + weights[2] * c[axis] + weights[3] * d[axis];
  return { x: sum("x"), y: sum("y") };
}

// Where a server's links end: the side of its box that faces the log.
export function serverEnd(placed, box) {
  return placed.wide
    ? { x: box.x + box.width, y: box.y + box.height / 2 }
    : { x: box.x + box.width / 2, y: box.y + box.height };
}
