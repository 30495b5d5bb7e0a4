"""The console beside a large run that goes on: how soon its pages are there, whether they follow, what they keep.

python -m benchmarks.console                       100,000 items for ten minutes
python -m benchmarks.console --minutes 1 --items 5000

Each view is open in a Chromium process of its own. Heaps are read after a collection, so that what is left is held.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

SERVER: Final = Path(__file__).with_name("server.py")
CONCURRENCY: Final = 100
FIRST_PAGE_S: Final = 0.3
GROWTH_BYTES: Final = 1_000_000
"""More than a page may hold at the end than when it had settled."""

SETTLED: Final = 0.2
"""By this share of the time, a page has built what it needs."""

LOADS: Final = 10
MARGIN: Final = 1.3
"""The run lasts longer than it is watched: pages are opened first."""

VIEWS: Final = {
    "overview": "/runs/{run}",
    "items": "/runs/{run}?view=items",
    "events": "/runs/{run}?view=events",
    "timeline": "/runs/{run}?view=timeline",
    "tree": "/runs/{run}?view=tree",
    "list": "/",
    "servers": "/servers",
}


class Sample(Struct):
    """What one page held at one time."""

    at_s: float
    heap_bytes: int
    nodes: int


class View:
    """One open page."""

    def __init__(self, browser: Browser, address: str, name: str, run_id: str) -> None:
        self.name = name
        self.page: Page = browser.new_page(base_url=address, viewport={"width": 1280, "height": 860})
        self._cdp: CDPSession = self.page.context.new_cdp_session(self.page)
        self._cdp.send("Performance.enable")
        self.path = VIEWS[name].format(run=run_id)
        self.samples: list[Sample] = []

    def load(self) -> float:
        """Opens the page; how many seconds it took until it could be read."""
        began = time.perf_counter()
        self.page.goto(self.path, wait_until="domcontentloaded")
        return time.perf_counter() - began

    def measure(self, at_s: float) -> None:
        self._cdp.send("HeapProfiler.collectGarbage")
        told = self._cdp.send("Performance.getMetrics")["metrics"]
        values: dict[str, float] = {metric["name"]: metric["value"] for metric in told}
        self.samples.append(Sample(at_s, int(values["JSHeapUsedSize"]), int(values["Nodes"])))

    @property
    def growth_bytes(self) -> int:
        """By how much it held more at the end than when it had settled."""
        settled = self.samples[int(len(self.samples) * SETTLED)]
        return self.samples[-1].heap_bytes - settled.heap_bytes


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A runtime with a component server; gives its address."""
    config = {
        "plugins": {"python": {"type": "stepflow", "command": sys.executable, "args": [str(SERVER)]}},
        "routes": {"/python": [{"plugin": "python"}]},
        "storage": {"type": "sqlite", "path": "state.db"},
        "listen": {"rpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
    }
    (folder / "stepflow-config.json").write_bytes(msgspec.json.encode(config))
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "-c", "stepflow-config.json"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(line.split()[-1] for line in process.stderr if line.startswith("console and HTTP at "))
    finally:
        for _ in range(2):  # at once, without a drain
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stderr.close()


def submit(web: httpx.Client, items: int, seconds: float) -> str:
    """A run that takes about so long."""

    def ask(method: str, **params: Any) -> Any:
        answer = web.post("/rpc", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()
        return answer["result"]

    flow = {
        "name": "Watched",
        "steps": [{"id": "nap", "component": "/python/sleep", "input": {"$input": "$"}}],
        "output": {"$step": "nap"},
    }
    flow_id = ask("blobs/put", data=flow, blob_type="flow")["blob_id"]
    nap_ms = round(seconds * 1000 * CONCURRENCY / items)
    inputs = [{"ms": nap_ms}] * items
    run_id: str = ask("runs/submit", flowId=flow_id, inputs=inputs, maxConcurrency=CONCURRENCY)["runId"]
    return run_id


def watch(browser: Browser, address: str, run_id: str, seconds: float) -> list[View]:
    """Opens all views, prints how soon, and follows them for so long."""
    views = [View(browser, address, name, run_id) for name in VIEWS]
    for view in views:
        times = sorted(view.load() for _ in range(LOADS))
        median = statistics.median(times)
        verdict = "ok" if median < FIRST_PAGE_S else "SLOW"
        print(f"{view.name:10} first page {median * 1000:5.0f} ms, at most {times[-1] * 1000:5.0f} ms  {verdict}")
    began = time.monotonic()
    count = views[0].page.locator(".c-success dd")
    last, changes = "", 0
    next_sample = 0.0
    while (at_s := time.monotonic() - began) < seconds:
        if at_s >= next_sample:
            next_sample += seconds / 20
            for view in views:
                view.measure(at_s)
        told = count.inner_text()
        changes += told != last
        last = told
        views[0].page.wait_for_timeout(500)
    print(f"the counts of the overview changed {changes} times in {seconds:.0f} s; at last {last} had succeeded")
    return views


def main() -> int:
    """Measures, and prints what was found.

    Returns:
        The exit code: 1 if a page grew.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.console", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no chromium on this machine; on Debian: apt-get install chromium")
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with httpx.Client(base_url=address, timeout=60) as web:
            run_id = submit(web, options.items, seconds * MARGIN)
        views = watch(browser, address, run_id, seconds)
        browser.close()
    grown = [view for view in views if view.growth_bytes > GROWTH_BYTES]
    for view in views:
        heaps = " ".join(f"{sample.heap_bytes / 1e6:.1f}" for sample in view.samples)
        nodes = f"{view.samples[0].nodes} → {view.samples[-1].nodes}"
        print(f"{view.name:10} heap in MB: {heaps}; nodes {nodes}  {'GREW' if view in grown else 'ok'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
