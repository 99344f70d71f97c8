// One mark for each state, told apart by shape as much as by colour; drawn around 0, 0 with a radius of about 6.

import { shape } from "./dom.js";

const MARKS = {
  waiting: "M-4.2 0h.01M0 0h.01M4.2 0h.01",
  training: "M5.2 0A5.2 5.2 0 1 1 0-5.2",
  uploading: "M0 5V-4.6M-4-.8L0-4.8L4-.8",
  reported: "M-4.6.4L-1.4 3.6L4.8-3.4",
  refused: "M-3.8-3.8L3.8 3.8M3.8-3.8L-3.8 3.8",
  gone: "M-4 0H4",
};

export function glyph(state, attributes = {}) {
  return shape("path", { d: MARKS[state], class: `mark mark-${state}`, ...attributes });
}

// A small picture of a state for legends and tables.
export function badge(state) {
  return shape(
    "svg",
    { class: `badge state-${state}`, viewBox: "-11 -11 22 22", "aria-hidden": "true" },
    shape("circle", { r: 9.5, class: "disc" }),
    glyph(state),
  );
}
