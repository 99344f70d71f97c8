// Who came and who went.

import { element, heading, replace } from "./dom.js";
import { clock, plural, shortened } from "./format.js";

const SIGNS = { joined: "+", "came back": "+", left: "−", vanished: "!" };
const MOST_SHOWN = 40;

export function newEvents(card) {
  const list = element("ol", { class: "happenings", tabindex: 0, "aria-label": "who came and who went" });
  replace(card, heading("events", "Coming and going"), list);
  return { list, signature: "" };
}

export function renderEvents(events, view) {
  const shown = view.store.events.slice(-MOST_SHOWN).reverse();
  const signature = JSON.stringify(shown.map((event) => [event.number, event.count]));
  if (signature === events.signature) return;
  events.signature = signature;
  if (!shown.length) return replace(events.list, element("li", { class: "note" }, "nobody yet"));
  return replace(
    events.list,
    shown.map((event) =>
      element(
        "li",
        { class: `event event-${event.kind.replace(" ", "-")}` },
        element("i", { "aria-hidden": "true" }, SIGNS[event.kind] ?? "·"),
        element("span", {}, eventWords(event)),
        element("time", {}, clock(event.seconds)),
      ),
    ),
  );
}

export function eventWords(event) {
  const names = event.names.map((name) => shortened(name, 32)).join(", ");
  const who = event.count > event.names.length ? `${plural(event.count, event.role)} (${names} …)` : `${event.role}${event.names.length > 1 ? "s" : ""} ${names}`;
  return `${who} ${event.kind}`;
}
