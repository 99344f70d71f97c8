// The records that servers refused: how many for which reason, and the last ones.

import { element, heading, replace } from "./dom.js";
import { clock, plural, whole } from "./format.js";

const MOST_SHOWN = 30;

export function newRefused(card) {
  const body = element("div", {});
  const count = element("span", { class: "count" });
  replace(card, heading("refused", "Refused records", count), body);
  return { body, count, signature: "" };
}

export function renderRefused(refused, view) {
  const { total, reasons, records } = view.store.refused;
  const signature = `${total} ${records.length}`;
  if (signature === refused.signature) return;
  refused.signature = signature;
  refused.count.textContent = total ? whole(total) : "";
  if (!total) return replace(refused.body, element("p", { class: "note" }, "none: every record so far could be used"));
  const shown = records.slice(-MOST_SHOWN).reverse();
  return replace(
    refused.body,
    element("ul", { class: "reasons" }, Object.entries(reasons).map(([reason, count]) => element("li", {}, element("b", {}, whole(count)), reason))),
    element("ol", { class: "records", tabindex: 0, "aria-label": "the last refused records" }, shown.map(drawRecord)),
    total > shown.length ? element("p", { class: "note" }, `the last ${shown.length} of ${plural(total, "record")} that were written down`) : null,
  );
}

function drawRecord(record) {
  const detail = record.detail && record.detail !== record.reason ? record.detail : "";
  return element(
    "li",
    {},
    element("span", { class: "reason-line" }, element("b", {}, record.client ? record.client.slice(0, 64) : "unknown sender"), ` ${record.reason}`),
    detail ? element("small", {}, detail) : null,
    element("small", { class: "place" }, `${clock(record.seconds)} · ${record.topic}[${record.partition}] at ${record.offset}`),
  );
}
