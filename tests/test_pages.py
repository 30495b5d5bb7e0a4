"""What the documentation shows can be done as it stands there, and what it links to is there."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
import yaml

from docs.site import name_heading
from stepflow_runtime.app.config_reader import read_config
from stepflow_runtime.connect.tokens import TokenFile
from stepflow_runtime.model.loader import load_document
from tests.pages import COMPLAINTS, play, read_blocks

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLAYED: Final = [
    page
    for page in PAGES
    if any(block.is_typed for block in read_blocks(page.read_text()))
    and not (ROOT / "tests" / f"test_how_to_{page.stem.replace('-', '_')}.py").exists()
]
"""Pages with commands, but for those that need a test of their own."""
ALL_PAGES: Final = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "examples").rglob("*.md"))]
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_TOKEN: Final = re.compile(r"[0-9a-f]{32}\n.* role=")
_OUTSIDE: Final = ("https://", "http://", "mailto:")


def write_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket lies in it, and the names of sockets are short."""
    with TemporaryDirectory(prefix="page", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.parametrize("page", PLAYED, ids=write_name)
def test_each_command_of_a_page_does_what_the_page_says(page: Path, folder: Path) -> None:
    for outcome in play(page.read_text(), folder):
        assert outcome.is_as_shown, f"{outcome}\n{(folder / COMPLAINTS).read_text()}"


@pytest.mark.parametrize("page", PAGES, ids=write_name)
def test_each_block_of_a_page_can_be_read(page: Path) -> None:
    for block in read_blocks(page.read_text()):
        match block.language:
            case "python":
                ast.parse(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "json":
                json.loads(block.text)
            case _:
                pass


@pytest.mark.parametrize("page", PAGES, ids=write_name)
def test_each_part_of_a_configuration_can_be_used(page: Path, tmp_path: Path) -> None:
    for block in read_blocks(page.read_text()):
        if block.language == "yaml" and block.file is None:
            read_config(load_document(block.text, write_name(page)), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=write_name)
def test_each_file_of_tokens_can_be_used(page: Path, tmp_path: Path) -> None:
    for block in read_blocks(page.read_text()):
        if _TOKEN.match(block.text):
            tokens = tmp_path / "tokens"
            tokens.touch(mode=0o600)
            tokens.write_text(block.text)
            assert all(TokenFile(tokens).find(line.split()[0]) for line in block.text.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=write_name)
def test_each_block_of_commands_is_typed(page: Path) -> None:
    """A block that looks like commands and is none of ours would go unnoticed."""
    known = {"", "sh", "text", "python", "yaml", "json", "ini", "dockerfile"}
    assert {block.language for block in read_blocks(page.read_text())} <= known


@pytest.mark.parametrize("page", ALL_PAGES, ids=write_name)
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if target.startswith(_OUTSIDE):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{target} is not there"
        if heading:
            assert heading in set(find_headings(file.read_text())), f"{target}: there is no such heading"


def find_headings(text: str) -> Iterator[str]:
    """The names by which headings are linked to."""
    for title in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        yield name_heading(title)
