"""`python -m tests.fuzz --minutes N`: each target in turn, with atheris where it is installed, else with hypothesis."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from tests.fuzz.documents import CORPUS, WORDS, documents
from tests.fuzz.targets import TARGETS

MAX_SECONDS = 20
"""That one input may take."""
MAX_MB = 2048
MAX_BYTES = 1 << 16


def main(arguments: list[str]) -> int:
    """Fuzzes; returns 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--input", type=Path, help="run one target on one file")
    parser.add_argument("--worker", choices=TARGETS, help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args(arguments)
    if options.worker is not None:
        return _work(options.worker, rest)
    names = options.target or list(TARGETS)
    if options.input is not None:
        TARGETS[names[0]](options.input.read_bytes())
        return 0
    seconds = options.minutes * 60 / len(names)
    if find_spec("atheris") is None:
        print("atheris is not installed, so nothing is guided by coverage; `pip install atheris` brings it.")
        run = _search
    else:
        run = _guide
    found = [name for name in names if not run(name, seconds)]
    print(f"Found something in: {', '.join(found)}." if found else "Nothing was found.")
    return bool(found)


def _search(name: str, seconds: float) -> bool:
    """Examples of hypothesis until the time is over; says what was found."""
    from hypothesis import HealthCheck, Phase, given, settings

    ends_at, done = time.monotonic() + seconds, 0

    @settings(
        max_examples=2000,
        deadline=MAX_SECONDS * 1000,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        database=None,
    )
    @given(documents(name))
    def check(data: bytes) -> None:
        nonlocal done
        done += 1
        if time.monotonic() < ends_at:
            TARGETS[name](data)

    try:
        while time.monotonic() < ends_at:
            check()
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}\n{''.join(getattr(error, '__notes__', []))}", flush=True)
        return False
    print(f"{name}: {done:,} inputs in {seconds:.0f} s", flush=True)
    return True


def _guide(name: str, seconds: float) -> bool:
    """A process of its own with atheris, which ends at the first finding and leaves the input beside the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text("".join(f'"{_escape(word)}"\n' for word in dict.fromkeys(WORDS[name].split())))
        grown = Path(folder) / "grown"
        grown.mkdir()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz", "--worker", name, str(grown), str(CORPUS / name)),
                *(f"-max_total_time={max(1, int(seconds))}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MB}"),
                *(f"-dict={words}", f"-max_len={MAX_BYTES}", "-print_final_stats=1", "-verbosity=0"),
                f"-artifact_prefix={Path.cwd()}/fuzz-{name}-",
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    inputs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    if done.returncode:
        print(f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}", flush=True)
        return False
    print(f"{name}: {int(inputs[0] if inputs else 0):,} inputs in {seconds:.0f} s", flush=True)
    return True


def _escape(word: str) -> str:
    return "".join(
        chr(byte) if 32 < byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in word.encode("utf-8", "replace")
    )


def _work(name: str, options: list[str]) -> int:
    """Calls one target until something is found; libFuzzer reads the options, and ends the process."""
    atheris: Any = import_module("atheris")
    for key, module in list(sys.modules.items()):
        if key.startswith(("protocol", "stepflow_runtime.model", "stepflow_runtime.app.config")):
            for function in list(vars(module).values()):
                if isinstance(function, FunctionType) and function.__module__ == key:
                    atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
