"""What the pages on jobs, schedules and webhooks show runs as it stands there, and prints what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from stepflow_runtime.app.cli.templates import read_job
from tests.test_examples import ROOT, run_here

FOLDER: Final = ROOT / "docs" / "how-to"


def write_files(page: str, folder: Path) -> str:
    """Writes the files that a page shows, the first line of each says its name; gives the page."""
    text = (FOLDER / f"{page}.md").read_text()
    for name, content in re.findall(r"```\w+\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content)
    return text


@pytest.mark.parametrize("page", ["jobs", "schedules", "webhooks"])
def test_its_files_and_its_command_print_what_it_says(page: str, tmp_path: Path) -> None:
    text = write_files(page, tmp_path)
    ((command, expected),) = re.findall(r"```sh\n(.*?)```\n\nprints\n\n```\n(.*?)```", text, re.DOTALL)
    done = run_here(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected


def test_the_job_file_is_one(tmp_path: Path) -> None:
    write_files("jobs", tmp_path)
    name, runs = read_job(tmp_path / "job.yaml")
    assert (name, len(runs)) == ("nightly", 2)
