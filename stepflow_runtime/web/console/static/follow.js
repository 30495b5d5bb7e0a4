// Streams and events as they come. What is shown is bounded, so that a page can stay open for as long as a run lasts.
const SHOWN = 500;

function add(list, line) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(line);
  while (list.childElementCount > SHOWN) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function make(name, text, kind = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function show(data) {
  const value = JSON.parse(data);
  return typeof value === "string" ? value : data;
}

export function followStream(list, said) {
  const source = new EventSource(list.dataset.stream);
  const take = (event, text) => {
    const line = document.createElement("li");
    line.append(make("span", event.lastEventId), make("span", text));
    add(list, line);
    said.textContent = "Live: what is written appears here.";
  };
  source.onmessage = (event) => take(event, show(event.data));
  source.addEventListener("base64", (event) => take(event, `base64 ${JSON.parse(event.data)}`));
  source.addEventListener("end", (event) => {
    source.close();
    said.textContent = `The stream has ended after ${JSON.parse(event.data).tailIndex} chunks.`;
  });
  source.onopen = () => { if (!list.childElementCount) said.textContent = "Nothing has been written yet."; };
}

export function followEvents(list) {
  const source = new EventSource(list.dataset.events);
  const take = (message) => {
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
    add(list, line);
  };
  for (const type of TYPES) source.addEventListener(type, take);
  source.addEventListener("end", () => source.close());
}

const TYPES = [
  "run.created", "run.started", "run.suspended", "run.completed", "item.started", "item.completed", "step.started",
  "step.completed", "step.retrying", "step.suspended", "step.resumed", "run.cancelRequested", "run.paused",
  "run.unpaused", "run.appended", "run.forked", "subRun.created",
];
