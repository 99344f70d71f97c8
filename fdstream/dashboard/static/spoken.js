// What a screen reader is told: each round that closes, and the end.

import { metricValue, whole } from "./format.js";

export function speak(view, happenings) {
  const closed = happenings.filter((each) => each.kind === "closed").pop();
  const finished = view.store.federation?.finished;
  if (!closed && !finished) return;
  const words = closed ? roundWords(view.store.rounds.get(closed.round)) : "";
  const ended = finished ? ` The federation has ${finished.failed ? "failed" : "finished"}: ${finished.reason}.` : "";
  const place = document.getElementById("spoken");
  if (place.textContent !== words + ended) place.textContent = words + ended;
}

function roundWords(round) {
  const [name, value] = Object.entries(round.evaluate)[0] ?? Object.entries(round.train)[0] ?? [];
  const measured = name ? `, ${name} ${metricValue(name, value)}` : "";
  return `Round ${round.number} closed with ${whole(round.cohort)} clients${measured}.`;
}
