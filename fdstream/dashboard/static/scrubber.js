// Goes back and forth through the rounds; at its right end it follows the live one.

import { element, replace } from "./dom.js";
import { lastRound } from "./store.js";
import { isLive, shownRound } from "./view.js";

export function newScrubber(nav, choose) {
  const slider = element("input", {
    type: "range",
    min: 1,
    max: 1,
    step: 1,
    "aria-label": "round",
    oninput: () => choose.round(Number(slider.value)),
  });
  const step = (words, sign, by) =>
    element("button", { type: "button", class: "step", title: words, "aria-label": words, onclick: () => choose.move(by) }, sign);
  const label = element("output", { class: "where" });
  const live = element("button", { type: "button", class: "live", title: "follow the newest round (l)", onclick: () => choose.live() }, "Live");
  replace(nav, step("round before (left arrow)", "‹", -1), slider, step("next round (right arrow)", "›", 1), label, live);
  return { nav, slider, label, live };
}

export function renderScrubber({ nav, slider, label, live }, view, saved) {
  const { store } = view;
  const last = lastRound(store);
  const first = Math.min(...store.rounds.keys(), last || 1);
  const shown = shownRound(view);
  slider.min = first;
  slider.max = Math.max(last, first);
  slider.value = shown;
  slider.style.setProperty("--share", last > first ? `${(100 * (shown - first)) / (last - first)}%` : "0%");
  nav.hidden = !last;
  label.textContent = `round ${shown}${store.rounds.get(shown)?.training === false ? ", evaluation" : ""}`;
  slider.setAttribute("aria-valuetext", label.textContent);
  live.textContent = saved || store.federation?.finished ? "Last" : "Live";
  live.classList.toggle("on", isLive(view));
  live.setAttribute("aria-pressed", String(isLive(view)));
}
