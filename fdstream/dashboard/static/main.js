// Puts the page together: what comes in goes to the store, what is chosen to the view, and both are drawn once a frame.

import { newCurves, renderCurves } from "./curves.js";
import { newDetail, renderDetail } from "./detail.js";
import { newEvents, renderEvents } from "./events.js";
import { newFacts, renderFacts } from "./facts.js";
import { newHeader, renderHeader } from "./header.js";
import { listen } from "./keys.js";
import { newPeople, renderPeople } from "./people.js";
import { newPicture, renderPicture } from "./picture.js";
import { newRefused, renderRefused } from "./refused.js";
import { newScrubber, renderScrubber } from "./scrubber.js";
import { speak } from "./spoken.js";
import { apply, newStore } from "./store.js";
import { follow } from "./stream.js";
import { startTheme, toggleTheme } from "./theme.js";
import { newTimeline, renderTimeline } from "./timeline.js";
import { newTraffic, renderTraffic } from "./traffic.js";
import { go, move, newView } from "./view.js";

const TICK_MS = 500; // for what grows with the time alone
const card = (id) => document.getElementById(id);
const inside = card("document"); // a saved page has its data in it
const view = newView(newStore());
let link = inside ? "file" : "lost";
let happenings = [];
let due = false;

const choose = changing({
  round: (number) => go(view, number),
  move: (by) => move(view, by),
  live: () => (view.round = null),
  client: (name) => (view.client = name),
  filter: (state) => (view.filter = state),
  search: (text) => (view.search = text),
});

startTheme();
const parts = {
  header: newHeader(card("top"), { theme: toggleTheme, saved: Boolean(inside) }),
  scrubber: newScrubber(card("scrubber"), choose),
  picture: newPicture(card("picture"), choose),
  detail: newDetail(card("detail")),
  curves: newCurves(card("curves")),
  timeline: newTimeline(card("timeline"), choose),
  people: newPeople(card("people"), choose),
  traffic: newTraffic(card("traffic")),
  refused: newRefused(card("refused")),
  events: newEvents(card("events")),
  facts: newFacts(card("facts")),
};

listen(choose, toggleTheme);
addEventListener("resize", soon);
if (inside) take(JSON.parse(inside.textContent));
else startStream();

function startStream() {
  follow({
    whole: (found) => {
      view.store = newStore();
      take(found);
      happenings = []; // what has been is not played again
    },
    change: take,
    link: (state) => {
      link = state;
      soon();
    },
  });
  setInterval(tick, TICK_MS);
}

function take(found) {
  happenings.push(...apply(view.store, found));
  soon();
}

function tick() {
  const phase = view.store.federation?.phase;
  if (!document.hidden && phase && phase !== "finished" && phase !== "absent") soon();
}

// Each choice is followed by a drawing.
function changing(actions) {
  const wrap = ([name, act]) => [name, (value) => (act(value), soon())];
  return Object.fromEntries(Object.entries(actions).map(wrap));
}

function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(draw);
}

function draw() {
  due = false;
  const fresh = happenings;
  happenings = [];
  renderHeader(parts.header, view, link);
  renderScrubber(parts.scrubber, view, Boolean(inside));
  renderPicture(parts.picture, view, fresh);
  renderDetail(parts.detail, view);
  renderCurves(parts.curves, view, soon);
  renderTimeline(parts.timeline, view);
  renderPeople(parts.people, view);
  renderTraffic(parts.traffic, view);
  renderRefused(parts.refused, view);
  renderEvents(parts.events, view);
  renderFacts(parts.facts, view);
  speak(view, fresh);
}
