// The stream of changes from the dashboard. The browser reconnects by itself and says what it had last.

export function follow({ whole, change, link }) {
  const source = new EventSource("events");
  source.addEventListener("open", () => link("live"));
  source.addEventListener("error", () => link(source.readyState === EventSource.CLOSED ? "ended" : "lost"));
  source.addEventListener("whole", (event) => whole(JSON.parse(event.data)));
  source.addEventListener("change", (event) => change(JSON.parse(event.data)));
  addEventListener("pagehide", () => source.close());
}
