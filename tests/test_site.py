"""The documentation as static pages: everything is there, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.site import ROOT, write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(folder)
    return folder


def test_every_page_of_the_documentation_is_in_it(site: Path) -> None:
    pages = [page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if not (site / page).with_suffix(".html").exists()] == []


def test_every_link_leads_to_a_file_and_to_a_heading(site: Path) -> None:
    dead: list[str] = []
    for page in site.rglob("*.html"):
        for address in re.findall(r'href="([^"]+)"', page.read_text()):
            name, _, heading = address.partition("#")
            meant = page.parent / name if name else page
            if "://" in address or (meant.exists() and (not heading or f'id="{heading}"' in meant.read_text())):
                continue
            dead.append(f"{page.relative_to(site)}: {address}")
    assert dead == []


def test_it_needs_nothing_from_elsewhere(site: Path) -> None:
    assert [page for page in site.rglob("*.html") if re.search(r"<(script|link|img|iframe)\b", page.read_text())] == []
