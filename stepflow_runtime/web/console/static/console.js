// Keeps a page current: what the server would say now replaces what it said, part by part (`data-live`).
const main = document.querySelector("main");
const REST = 5;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function isInUse(part) {
  return part.contains(document.activeElement) || part.querySelector("details.menu[open]") !== null
    || [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((field) => field.value !== field.defaultValue)
    || [...part.querySelectorAll("select")].some((field) => field.value !== "");
}

function replace(old, fresh) {
  if (old.dataset.said === fresh.innerHTML || (old.dataset.said === undefined && old.innerHTML === fresh.innerHTML)) return;
  if (old.querySelector("form, a:focus, summary:focus") && isInUse(old)) return;
  const opened = new Map([...old.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
  const said = fresh.innerHTML;
  old.replaceChildren(...fresh.childNodes);
  old.dataset.said = said;
  for (const each of old.querySelectorAll("details[id]")) if (opened.has(each.id)) each.open = opened.get(each.id);
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = fresh.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const part = fresh.getElementById(old.id);
    if (part) replace(old, part);
  }
  const wait = fresh.querySelector("main").dataset.refresh;
  if (wait) main.dataset.refresh = wait;
  else {
    delete main.dataset.refresh;
    await loadParts();
    document.dispatchEvent(new Event("settled"));
  }
}

// Parts that could not be had are asked for again; a page that keeps itself current does so anyhow.
async function fill() {
  for (let tries = 0; tries < 8 && document.querySelector("[data-src][aria-busy]"); tries++) {
    if (tries) await pause(250 * 2 ** tries);
    await loadParts().catch(() => {});
  }
}

async function loadParts() {
  for (const part of document.querySelectorAll("[data-src]")) {
    const answer = await fetch(part.dataset.src, { headers: { Accept: "text/html" } });
    if (!answer.ok) continue;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    const left = part.querySelector(".scroll")?.scrollLeft ?? 0;
    if (part.dataset.said !== fresh.innerHTML) {
      part.dataset.said = fresh.innerHTML;
      part.replaceChildren(...fresh.childNodes);
      const scroll = part.querySelector(".scroll");
      if (scroll) scroll.scrollLeft = left;
    }
    part.removeAttribute("aria-busy");
  }
}

// A page that takes long asks less often: where a runtime is busy, those who watch it are not what keeps it so.
async function keepCurrent() {
  let rounds = 0, took = 0;
  while (main.dataset.refresh) {
    await pause(Math.max(Number(main.dataset.refresh), REST * took));
    if (document.hidden) continue;
    const began = performance.now();
    try {
      await refresh();
      if (main.dataset.refresh && ++rounds % 3 === 0) await loadParts();
    } catch {
      // The runtime is away; the next round asks again.
    }
    took = performance.now() - began;
  }
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
});
const grid = document.getElementById("grid");
if (grid) import("./grid.js").then(({ openGrid }) => openGrid(grid));
const events = document.querySelector("[data-events]");
if (events) import("./follow.js").then(({ followEvents }) => followEvents(events, document.getElementById("events-said")));
const stream = document.querySelector("[data-stream]");
if (stream) import("./follow.js").then(({ followStream }) => followStream(stream, document.getElementById("stream-said")));
fill();
keepCurrent();
