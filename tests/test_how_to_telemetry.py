"""What docs/how-to/telemetry.md shows does what it says there: its files are written out and run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.receiver import open_receiver
from tests.test_examples import ROOT, run_here

PAGE: Final = (ROOT / "docs" / "how-to" / "telemetry.md").read_text()


def test_the_files_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    files = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    with open_receiver() as collector:
        done = run_here(f"COLLECTOR={collector.url} python trace.py", tmp_path)
    assert done.stdout == expected, done.stderr
    assert [span.name for span in collector.spans].count("run where") == 2
