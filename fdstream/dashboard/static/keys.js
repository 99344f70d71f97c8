// The keyboard: arrows go through the rounds, l is live, t the theme, / searches.

export function listen(choose, theme) {
  const keys = {
    ArrowLeft: () => choose.move(-1),
    ArrowRight: () => choose.move(1),
    Home: () => choose.round(1),
    End: () => choose.live(),
    l: () => choose.live(),
    t: theme,
    Escape: () => choose.client(null),
    "/": () => document.querySelector("#people input").focus(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (event.target.matches("input[type=range]") && event.key !== "l" && event.key !== "t") return;
    if (event.target.closest(".scroll, .records, .happenings") && ["Home", "End"].includes(event.key)) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
