"""The job file that the page on jobs shows is one; what else the page shows is typed by `test_pages`."""

from __future__ import annotations

from pathlib import Path

from stepflow_runtime.app.cli.templates import read_job
from tests.pages import read_blocks
from tests.test_examples import ROOT


def test_the_job_file_is_one(tmp_path: Path) -> None:
    blocks = read_blocks((ROOT / "docs" / "how-to" / "jobs.md").read_text())
    for file, content in filter(None, (block.file for block in blocks)):
        (tmp_path / file).write_text(content)
    name, runs = read_job(tmp_path / "job.yaml")
    assert (name, len(runs)) == ("nightly", 2)
