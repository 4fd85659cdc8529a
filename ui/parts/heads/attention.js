// A text whose tokens show where attention goes from the chosen one. Names from the archive are set as text, never as HTML.
export default function ({ data, parentElement }) {
  const { tokens, names, weights, backwards, apart } = data;
  const box = parentElement.querySelector(".tokens");
  const line = parentElement.querySelector(".told");
  const weight = (from, to) => (backwards ? (weights[to] || [])[from] : (weights[from] || [])[to]) || 0;
  box.replaceChildren();
  box.classList.toggle("apart", apart);
  const spans = tokens.map((token, place) => {
    const span = document.createElement("span");
    span.textContent = token.replace(/\n/g, "↵\n") || "∅";
    span.setAttribute("role", "option");
    span.setAttribute("aria-label", `${place}: ${names[place]}`);
    span.tabIndex = -1;
    span.dataset.place = place;
    box.appendChild(span);
    return span;
  });
  let chosen = Number(box.dataset.chosen || 0);
  if (!(chosen < tokens.length) || !box.dataset.chosen) {
    // open with the token whose attention is most in one place, without the first, which has no choice
    const peak = (from) => Math.max(...tokens.map((_, to) => (to === from || (!backwards && to === 0) ? 0 : weight(from, to))));
    chosen = tokens.reduce((best, _, place) => (peak(place) > peak(best) ? place : best), 0);
  }
  function show(place) {
    chosen = place;
    box.dataset.chosen = place;
    spans.forEach((span, other) => {
      const share = weight(place, other);
      span.style.background = share > 0.005 ? `rgba(31, 131, 214, ${(0.06 + 0.5 * Math.min(share, 1)).toFixed(3)})` : "";
      span.style.borderBottomWidth = share > 0.05 ? "2px" : "0";
      span.classList.toggle("chosen", other === place);
      span.setAttribute("aria-selected", other === place);
      span.title = `${share.toFixed(3)} ${backwards ? "of its attention" : "of the attention"}`;
      span.tabIndex = other === place ? 0 : -1;
    });
    const most = tokens.map((_, other) => [weight(place, other), other]).sort((a, b) => b[0] - a[0]).slice(0, 5).filter((p) => p[0] > 0.01);
    const told = most.map(([share, other]) => `${other}: ${names[other]} ${share.toFixed(2)}`).join(" | ");
    line.textContent = `${place}: ${names[place]} ${backwards ? "is looked at by" : "looks at"}: ${told || "nothing above 0.01"}`;
  }
  const placeOf = (event) => {
    const span = event.target.closest("[data-place]");
    return span ? Number(span.dataset.place) : null;
  };
  box.onmouseover = (event) => { const place = placeOf(event); if (place !== null) show(place); };
  box.onclick = box.onmouseover;
  box.onfocus = (event) => { if (event.target === box) spans[chosen].focus(); };
  box.onkeydown = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? tokens.length - 1 : by ? chosen + by : null;
    if (to === null) return;
    event.preventDefault();
    show(Math.min(Math.max(to, 0), tokens.length - 1));
    spans[chosen].focus();
  };
  if (spans.length) show(chosen);
}
