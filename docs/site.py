"""The documentation as static pages: `python -m docs.site [FOLDER]`, or `make site`. It needs no network.

Every page keeps its place, as `.html`; what a page links to that is no page is copied beside it.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).parent.parent
TARGET: Final = ROOT / "build" / "site"
FIRST: Final = ("README.md", "docs/README.md", "docs/tutorial.md", "docs/coming-from.md")
LAST: Final = ("CHANGELOG.md", "CONTRIBUTING.md")
CHAPTERS: Final = {"docs/how-to": "How to", "docs/reference": "Reference", "docs/explanation": "Why it is so"}
PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.55 system-ui, sans-serif; display: grid; grid-template-columns: 15rem minmax(0, 50rem); gap: 2.5rem;
  margin: 2rem auto; max-width: 68rem; padding: 0 1rem }
main { grid-column: 2; grid-row: 1 }
main > :first-child { margin-top: 0 }
nav { grid-column: 1; grid-row: 1; align-self: start; position: sticky; top: 2rem; max-height: calc(100vh - 4rem);
  overflow-y: auto; font-size: .9em }
nav ul { list-style: none; padding: 0; margin: 0 0 1rem }
nav li { margin: .3rem 0; line-height: 1.3 }
nav a:not(:hover, :focus) { text-decoration: none }
.chapter { margin: 1rem 0 .3rem; opacity: .7 }
.jump { display: none }
[aria-current] { font-weight: bold }
pre, table { overflow-x: auto; display: block }
pre { padding: .8rem 1rem; background: color-mix(in srgb, currentColor 7%, transparent); line-height: 1.4 }
code { font-size: .9em }
table { border-spacing: 0 }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0 }
td { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
@media (max-width: 50rem) {
  body { display: block; margin: 1rem auto }
  nav { position: static; max-height: none; margin-top: 2rem; font-size: 1em }
  .jump { display: block; margin-bottom: 1rem }
}
</style>
<a class="jump" href="#pages">All pages</a>
<main>
$content
</main>
<nav id="pages" aria-label="Pages">
$navigation
</nav>
</html>
""")


def write_site(target: Path) -> list[Path]:
    """Writes every page.

    Args:
        target: A folder; what it has of an earlier site goes.

    Returns:
        The pages that were written.
    """
    shutil.rmtree(target, ignore_errors=True)
    pages = find_pages()
    titles = {page: _read_title(page) for page in pages}
    written: list[Path] = []
    for page in pages:
        content = _render(page, pages, target)
        navigation = "\n".join(_write_navigation(page, titles))
        path = target / page.relative_to(ROOT).with_suffix(".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGE.substitute(title=html.escape(titles[page]), navigation=navigation, content=content))
        written.append(path)
    shutil.copyfile(target / "README.html", target / "index.html")
    return written


def find_pages() -> list[Path]:
    """All pages, in the order in which they are listed."""
    listed = re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    order = {f"docs/{name}": number for number, name in enumerate(listed)}

    def place(page: Path) -> tuple[int, str]:
        name = str(page.relative_to(ROOT))
        return order.get(name, len(order)), name

    chapters = [page for folder in CHAPTERS for page in sorted((ROOT / folder).glob("*.md"), key=place)]
    examples = sorted((ROOT / "examples").rglob("README.md"))
    return [*(ROOT / name for name in FIRST), *chapters, *examples, *(ROOT / name for name in LAST)]


def name_heading(title: str) -> str:
    """The name by which a heading is linked to: small letters, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _read_title(page: Path) -> str:
    found = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
    return found[1].replace("`", "") if found else page.stem


def _write_navigation(current: Path, titles: dict[Path, str]) -> Iterator[str]:
    chapter = None
    yield "<ul>"
    for page, title in titles.items():
        name = str(page.parent.relative_to(ROOT))
        if name.startswith("examples/"):
            continue  # listed by the page on examples
        if name in CHAPTERS and chapter != name:
            yield f'</ul>\n<p class="chapter">{CHAPTERS[name]}</p>\n<ul>'
        elif chapter in CHAPTERS and name not in CHAPTERS:
            yield "</ul>\n<ul>"
        chapter = name
        here = ' aria-current="page"' if page == current else ""
        address = os.path.relpath(page.with_suffix(".html"), current.parent)
        yield f'<li><a href="{html.escape(address)}"{here}>{html.escape(title)}</a></li>'
    yield "</ul>"


def _render(page: Path, pages: list[Path], target: Path) -> str:
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(page.read_text())
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", name_heading(following.content))
    for token in _iterate(tokens):
        address = token.attrGet("href")
        if token.type == "link_open" and isinstance(address, str) and not re.match(r"[a-z]+:|#", address):
            token.attrSet("href", _lead(address, page, pages, target))
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _iterate(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _iterate(token.children or [])


def _lead(address: str, page: Path, pages: list[Path], target: Path) -> str:
    """Where a link of a page leads in the site."""
    name, hash_sign, heading = address.partition("#")
    meant = (page.parent / name).resolve()
    if (meant / "README.md").exists():
        name, meant = f"{name.rstrip('/')}/README.md", meant / "README.md"
    if meant in pages:
        return f"{name.removesuffix('.md')}.html{hash_sign}{heading}"
    copy = target / meant.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if meant.is_dir():
        shutil.copytree(meant, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copyfile(meant, copy)
    return address


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    print(f"{len(write_site(folder))} pages in {folder}, from {folder / 'index.html'}")
