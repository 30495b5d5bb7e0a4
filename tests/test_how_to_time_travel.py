"""What docs/how-to/time-travel.md shows does what it says there: its files are written out and run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.test_examples import ROOT, run_here

PAGE: Final = (ROOT / "docs" / "how-to" / "time-travel.md").read_text()


def test_the_files_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    for name, content in re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(content)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    done = run_here("python again.py", tmp_path)
    assert done.stdout == expected, done.stderr
