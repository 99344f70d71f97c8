// The line on top: which federation, how far it is, and whether what is shown is live.

import { element, replace, shape } from "./dom.js";
import { brokerNow } from "./store.js";
import { day, duration, plural } from "./format.js";

const PHASE_WORDS = {
  absent: "not opened yet",
  ready: "between rounds",
  collecting: "collecting",
  comparing: "comparing",
  publishing: "publishing",
  sealing: "sealing",
  finished: "finished",
};
const LINK_WORDS = { live: "live", lost: "reconnecting", file: "saved page", ended: "dashboard ended" };

export function newHeader(bar, { theme, saved }) {
  const parts = {
    name: element("h1", {}),
    phase: element("span", { class: "phase" }),
    progress: element("div", { class: "progress" }),
    since: element("span", { class: "since" }),
    link: element("span", { class: "link-state", role: "status" }),
  };
  replace(
    bar,
    element("div", { class: "brand" }, logo(), element("span", {}, "fdstream")),
    element("div", { class: "title" }, parts.name, parts.phase),
    parts.progress,
    element(
      "div",
      { class: "tools" },
      parts.since,
      parts.link,
      saved ? null : element("a", { class: "tool", href: "report.html", download: true, title: "Save this page with its data as one file" }, "Save report"),
      element("button", { type: "button", class: "tool", id: "theme", title: "Light or dark (t)", onclick: theme }, "Theme"),
    ),
  );
  return parts;
}

export function renderHeader(parts, view, link) {
  const { store } = view;
  const federation = store.federation;
  const phase = federation?.phase ?? "absent";
  const failed = federation?.finished?.failed;
  parts.name.textContent = federation?.name || "federation";
  parts.phase.textContent = failed ? "failed" : PHASE_WORDS[phase];
  parts.phase.className = `phase phase-${failed ? "failed" : phase}`;
  parts.phase.title = federation?.finished?.reason ?? "";
  parts.link.textContent = LINK_WORDS[link];
  parts.link.className = `link-state link-${link}`;
  parts.since.textContent = sinceWords(store, federation);
  replace(parts.progress, progress(store, federation));
  document.title = title(federation);
}

function sinceWords(store, federation) {
  if (!federation?.opened) return "";
  if (federation.finished) return `${day(federation.opened)}, ran ${duration(federation.finished.seconds - federation.opened)}`;
  return `running for ${duration(Math.max(0, brokerNow(store) - federation.opened))}`;
}

function title(federation) {
  if (!federation?.round) return "fdstream";
  return `${federation.round} of ${federation.settings.num_rounds} · ${federation.name} · fdstream`;
}

function progress(store, federation) {
  if (!federation?.settings) return [element("span", {}, "waiting for a server to open it")];
  const { num_rounds: rounds } = federation.settings;
  const closed = [...store.rounds.values()].filter((round) => round.training && round.closed).length;
  const done = Math.max(closed, federation.finished?.rounds ?? 0, Math.min(rounds, federation.round - 1));
  const text = federation.round > rounds ? `${plural(rounds, "round")} done` : `round ${federation.round} of ${rounds}`;
  const meter = element("div", {
    class: "meter",
    role: "progressbar",
    "aria-valuemin": 0,
    "aria-valuemax": rounds,
    "aria-valuenow": done,
    "aria-label": "rounds closed",
  });
  const fill = element("i", {});
  fill.style.width = `${(100 * done) / rounds}%`;
  meter.append(fill);
  return [element("span", { id: "round-text" }, text), meter];
}

function logo() {
  return shape(
    "svg",
    { viewBox: "0 0 32 32", class: "logo", "aria-hidden": "true" },
    shape("rect", { width: 32, height: 32, rx: 8 }),
    shape("path", { d: "M7 10h6c4 0 4 6 8 6h4M7 16h18M7 22h6c4 0 4-6 8-6" }),
    shape("circle", { cx: 25, cy: 16, r: 2.6 }),
  );
}
