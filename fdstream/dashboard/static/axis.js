// Axes, grid lines and round numbers that charts share.

import { shape } from "./dom.js";
import { ticks } from "./scale.js";

export function gridLines(box, scaleY, low, high, words) {
  return ticks(low, high, Math.max(2, Math.floor(box.height / 42))).map((value) => {
    const y = scaleY(value);
    return shape(
      "g",
      { class: "grid" },
      shape("line", { x1: box.x, x2: box.x + box.width, y1: y, y2: y }),
      shape("text", { x: box.x - 8, y: y + 4, class: "tick tick-y" }, words(value)),
    );
  });
}

export function roundTicks(box, scaleX, first, last) {
  const whole = ticks(first, last, Math.max(2, Math.floor(box.width / 56))).filter(Number.isInteger);
  return whole.map((value) =>
    shape("text", { x: scaleX(value), y: box.y + box.height + 18, class: "tick tick-x" }, value),
  );
}
