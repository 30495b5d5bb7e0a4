// Streams and events as they come. What is shown is bounded, so that a page can stay open for as long as a run lasts,
// and it is laid out a few times a second only: what comes faster than it can be read is not even made into lines.
const SHOWN = 500;
const LAYOUT_MS = 200;

function openTail(list) {
  let waiting = [];
  let timer = 0;
  const show = () => {
    timer = 0;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...waiting.slice(-SHOWN).map((makeLine) => makeLine()));
    waiting = [];
    while (list.childElementCount > SHOWN) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
  return (makeLine) => {
    waiting.push(makeLine);
    if (waiting.length > 2 * SHOWN) waiting = waiting.slice(-SHOWN);
    timer ||= setTimeout(show, LAYOUT_MS);
  };
}

function make(name, text, kind = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function openSource(path) {
  const source = new EventSource(path);
  addEventListener("pagehide", () => source.close());
  return source;
}

function show(data) {
  const value = JSON.parse(data);
  return typeof value === "string" ? value : data;
}

export function followStream(list, said) {
  const source = openSource(list.dataset.stream);
  const add = openTail(list);
  const take = (event, describe) => add(() => {
    const line = document.createElement("li");
    line.append(make("span", event.lastEventId), make("span", describe(event.data)));
    return line;
  });
  source.onmessage = (event) => take(event, show);
  source.addEventListener("base64", (event) => take(event, (data) => `base64 ${JSON.parse(data)}`));
  source.addEventListener("end", (event) => {
    source.close();
    const { tailIndex } = JSON.parse(event.data);
    said.textContent = `The stream has ended after ${tailIndex} chunks.`;
    document.querySelector(".streams [aria-current] small").textContent = tailIndex;
  });
  source.onopen = () => { said.textContent = "Live: what is written appears here."; };
}

export function followEvents(list, said) {
  const source = openSource(list.dataset.events);
  const add = openTail(list);
  const makeLine = (message) => {
    const event = JSON.parse(message.data);
    const line = document.createElement("li");
    const time = make("time", event.at.slice(11, 23));
    time.dateTime = event.at;
    line.append(time, make("code", event.type, "type"));
    if (event.itemIndex !== undefined) {
      const link = make("a", `#${event.itemIndex}`, "num");
      link.href = `/runs/${encodeURIComponent(event.runId)}/items/${event.itemIndex}`;
      line.append(link);
    }
    if (event.stepId) line.append(make("code", event.stepId));
    if (event.data) line.append(make("code", JSON.stringify(event.data).slice(0, 120), "preview"));
    return line;
  };
  for (const type of TYPES) source.addEventListener(type, (message) => add(() => makeLine(message)));
  source.addEventListener("end", () => {
    source.close();
    said.textContent = "The run has ended.";
  });
}

const TYPES = [
  "run.created", "run.started", "run.suspended", "run.completed", "item.started", "item.completed", "step.started",
  "step.completed", "step.retrying", "step.suspended", "step.resumed", "run.cancelRequested", "run.paused",
  "run.unpaused", "run.appended", "run.forked", "subRun.created",
];
