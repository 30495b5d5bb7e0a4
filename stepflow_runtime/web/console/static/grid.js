// A million items as squares. Only what is in view is asked for and drawn, so that memory and time don't grow with a run.
const STATES = { p: "pending", r: "running", u: "suspended", s: "success", f: "failed", c: "cancelled" };
const LIVE_MS = 1000;

export function openGrid(box) {
  const canvas = box.querySelector("canvas"), space = box.querySelector(".grid-space");
  const said = document.getElementById("grid-said");
  const path = `/runs/${encodeURIComponent(box.dataset.run)}`;
  let total = Number(box.dataset.total), columns = 1, cell = 14;
  let start = 0, states = "", chosen = 0, isAsking = false, asksAgain = false, isLive = "liveGrid" in box.dataset;
  let colours = {};
  const tallest = box.clientHeight;

  function readColours() {
    const style = getComputedStyle(box);
    colours = Object.fromEntries(Object.entries(STATES).map(([letter, name]) => [letter, style.getPropertyValue(`--${name}`)]));
    colours.ink = style.getPropertyValue("--ink");
    colours.card = style.getPropertyValue("--card");
  }

  function measure() {
    const width = box.clientWidth - 16;
    cell = total <= 2000 ? 18 : total <= 20000 ? 13 : 10;
    columns = Math.max(1, Math.floor(width / cell));
    const rows = Math.ceil(total / columns);
    space.style.height = `${rows * cell + 16}px`;
    box.style.height = rows * cell + 18 < tallest ? `${rows * cell + 18}px` : "";
    const ratio = devicePixelRatio || 1, height = box.clientHeight;
    canvas.style.width = `${box.clientWidth}px`;
    canvas.style.height = `${height}px`;
    canvas.width = box.clientWidth * ratio;
    canvas.height = height * ratio;
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function view() {
    const first = Math.max(0, Math.floor((box.scrollTop - 8) / cell)) * columns;
    const rows = Math.ceil(box.clientHeight / cell) + 2;
    return { first, count: Math.min(rows * columns, total - first) };
  }

  function draw() {
    const pen = canvas.getContext("2d"), { first, count } = view(), gap = cell > 10 ? 3 : 2, size = cell - gap;
    canvas.style.transform = `translateY(${box.scrollTop}px)`;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (let index = first; index < first + count; index++) {
      const letter = states[index - start] ?? "p";
      const x = 8 + (index % columns) * cell, y = 8 + Math.floor(index / columns) * cell - box.scrollTop;
      pen.fillStyle = colours[letter];
      pen.fillRect(x, y, size, size);
      if (letter === "f" || letter === "c") { // not by colour alone
        pen.fillStyle = colours.card;
        pen.fillRect(x + size * 0.3, y + size * 0.42, size * 0.4, size * 0.16);
      }
      if (index === chosen && document.activeElement === box) {
        pen.strokeStyle = colours.ink;
        pen.lineWidth = 2;
        pen.strokeRect(x - 1, y - 1, size + 2, size + 2);
      }
    }
  }

  async function ask() {
    if (isAsking) { asksAgain = true; return; }
    isAsking = true;
    try {
      do {
        asksAgain = false;
        const { first, count } = view();
        const answer = await fetch(`${path}/states?startIndex=${first}&limit=${Math.min(100000, Math.max(1, count))}`);
        if (!answer.ok) return;
        const found = await answer.json();
        start = found.startIndex;
        states = found.states;
        if (found.total !== total) { total = found.total; measure(); }
        draw();
        if (document.activeElement === box) tell(chosen);
      } while (asksAgain);
    } catch {
      // The runtime is away; the next round asks again.
    } finally {
      isAsking = false;
    }
  }

  function choose(index) {
    chosen = Math.min(total - 1, Math.max(0, index));
    const top = Math.floor(chosen / columns) * cell;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + cell + 16 > box.scrollTop + box.clientHeight) box.scrollTop = top + cell + 16 - box.clientHeight;
    tell(chosen);
    draw();
  }

  function tell(index) {
    const letter = states[index - start];
    said.textContent = `Item ${index.toLocaleString("en")}${letter ? `: ${STATES[letter]}` : ""}`;
  }

  function find(event) {
    const frame = box.getBoundingClientRect();
    const column = Math.floor((event.clientX - frame.left - 8) / cell);
    const row = Math.floor((event.clientY - frame.top + box.scrollTop - 8) / cell);
    const index = row * columns + column;
    return column >= 0 && column < columns && row >= 0 && index < total ? index : null;
  }

  const open = (index) => { location.href = `${path}/items/${index}`; };
  box.addEventListener("scroll", () => { draw(); ask(); }, { passive: true });
  box.addEventListener("click", (event) => { const index = find(event); if (index !== null) open(index); });
  box.addEventListener("mousemove", (event) => { const index = find(event); if (index !== null) tell(index); });
  box.addEventListener("focus", () => { tell(chosen); draw(); });
  box.addEventListener("blur", draw);
  box.addEventListener("keydown", (event) => {
    const page = Math.floor(box.clientHeight / cell) * columns;
    const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page,
      Home: -total, End: total }[event.key];
    if (event.key === "Enter") open(chosen);
    else if (move !== undefined) { event.preventDefault(); choose(chosen + move); }
  });
  new ResizeObserver(() => { measure(); draw(); ask(); }).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  document.addEventListener("settled", () => { isLive = false; ask(); });
  readColours();
  measure();
  ask();
  (async () => {
    while (isLive) {
      await new Promise((resolve) => setTimeout(resolve, LIVE_MS));
      if (!document.hidden) await ask();
    }
  })();
}
