// The one tooltip of the page.

import { element, replace } from "./dom.js";

export function showTip(x, y, title, lines) {
  const tip = document.getElementById("tip");
  replace(
    tip,
    element("strong", {}, title),
    lines.map(([name, value]) =>
      element("div", { class: "pair" }, element("span", {}, name), element("b", {}, value)),
    ),
  );
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 14 + width > window.innerWidth ? x - 14 - width : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, window.innerHeight - height - 4))}px`;
}

export function hideTip() {
  document.getElementById("tip").hidden = true;
}
