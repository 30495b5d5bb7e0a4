"""What the page on HTTP shows runs as it stands there, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.stepflow_runtime.app.cli.cli_kit import Program
from tests.test_examples import ROOT

PAGE: Final = (ROOT / "docs" / "how-to" / "http.md").read_text()


def test_its_files_and_its_command_print_what_it_says(tmp_path: Path) -> None:
    for name, content in re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(content)
    (expected,) = re.findall(r"```\n(event: .*?)```", PAGE, re.DOTALL)
    with Program("serve", "--config", str(tmp_path / "stepflow-config.yml")) as program:
        program.read_line()
        address = program.read_line().split()[-1]
        done = subprocess.run(
            [sys.executable, "watch.py", address], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
