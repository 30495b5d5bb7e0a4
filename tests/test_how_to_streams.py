"""What the page on streams shows runs as it stands there, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.test_examples import ROOT, run_here

PAGE: Final = (ROOT / "docs" / "how-to" / "streams.md").read_text()


def test_its_files_and_its_command_print_what_it_says(tmp_path: Path) -> None:
    for name, content in re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(content)
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (expected,) = re.findall(r"```\n(1 of 3\n.*?)```", PAGE, re.DOTALL)
    done = run_here(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
