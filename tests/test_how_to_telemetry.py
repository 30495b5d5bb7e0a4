"""What docs/how-to/telemetry.md shows does what it says there: its files are written out and run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.stepflow_runtime.app.test_tracing import Collector, collector
from tests.test_examples import ROOT, run_here

PAGE: Final = (ROOT / "docs" / "how-to" / "telemetry.md").read_text()

__all__ = ["collector"]


def test_the_files_of_the_page_print_what_it_says(tmp_path: Path, collector: Collector) -> None:
    files = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    done = run_here(f"COLLECTOR={collector.endpoint.removesuffix('/v1/traces')} python trace.py", tmp_path)
    assert done.stdout == expected, done.stderr
    assert [span.name for span in collector.spans].count("run where") == 2
