"""Plays a page of the documentation as its reader would: writes its files, types its commands, one after the other.

A block whose first line is `# NAME` is a file of that name. A block marked `sh` is typed into one shell for the whole
page, and must end with 0, or as the mark says: `sh exit=1`. A `text` block after it, or one without a mark, is what it
prints; `…` there stands for anything. A block marked `sh elsewhere` is shown only.

A command that serves (`stepflow serve &`, or `dev`) is waited for, and listens on a socket of its own, so that pages
can be played at once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

TIMEOUT_S: Final = 90.0
PRINTED: Final = "stdout.log"
COMPLAINTS: Final = "stderr.log"
END: Final = "-- end of block "
AWAIT_SERVER: Final = "until stepflow runs list > /dev/null 2>&1; do :; done"
SERVES: Final = re.compile(r"^stepflow (serve|dev) .*&$", re.MULTILINE)
_FENCE: Final = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NAME: Final = re.compile(r"# (\S+\.\w+)\n(.*)", re.DOTALL)


class Block(Struct, frozen=True):
    """One fenced block of a page.

    Args:
        language: The first word after the fence, often empty.
        marks: The other words.
        text: What stands between the fences.
    """

    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def file(self) -> tuple[str, str] | None:
        """The name and content of the file that the block shows."""
        named = None if self.is_typed or self.is_printed else _NAME.match(self.text)
        return (named[1], named[2]) if named else None

    @property
    def is_typed(self) -> bool:
        return self.language == "sh" and "elsewhere" not in self.marks

    @property
    def is_printed(self) -> bool:
        return self.language in ("", "text")

    @property
    def exit_code(self) -> int:
        codes = [int(mark.removeprefix("exit=")) for mark in self.marks if mark.startswith("exit=")]
        return codes[0] if codes else 0


class Outcome(Struct, frozen=True):
    """What became of one `sh` block.

    Args:
        command: As it was typed.
        exit_code: Of its last command; `expected_code` is what the page says.
        printed: On stdout; `expected` is what the page shows, if anything.
    """

    command: str
    exit_code: int | None
    expected_code: int
    printed: str
    expected: str | None

    @property
    def is_as_shown(self) -> bool:
        return self.exit_code == self.expected_code and (
            self.expected is None or bool(_make_pattern(self.expected).fullmatch(self.printed))
        )


def read_blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    blocks: list[Block] = []
    for indent, info, content in _FENCE.findall(text):
        language, *marks = info.split() or [""]
        blocks.append(Block(language, tuple(marks), re.sub(rf"^{indent}", "", content, flags=re.MULTILINE)))
    return blocks


def play(text: str, folder: Path) -> list[Outcome]:
    """Does what a page says, in a folder.

    Args:
        text: The page.
        folder: Where its files are written and its commands typed; short, as a socket lies there.

    Returns:
        What became of each command. If the shell did not come to one, its exit code is `None`.
    """
    blocks = read_blocks(text)
    typed = [index for index, block in enumerate(blocks) if block.is_typed]
    printed = _type("".join(_write_script(blocks)), folder) if typed else ""
    parts = re.findall(rf"(.*?){END}(\d+)\n", printed, re.DOTALL)
    outcomes: list[Outcome] = []
    for number, index in enumerate(typed):
        output, code = parts[number] if number < len(parts) else ("", None)
        following = blocks[index + 1] if index + 1 < len(blocks) else None
        expected = following.text if following and following.is_printed else None
        outcomes.append(Outcome(blocks[index].text, code and int(code), blocks[index].exit_code, output, expected))
    return outcomes


def _write_script(blocks: list[Block]) -> Iterator[str]:
    """Files are written by the shell too: one that comes twice on a page changes when the reader changes it."""
    for block in blocks:
        if block.file:
            name, content = block.file
            yield f"cat > {name} <<'END-OF-{name}'\n{content}END-OF-{name}\n"
        elif block.is_typed:
            awaited = f"{AWAIT_SERVER}\n" if SERVES.search(block.text) else ""
            yield f"{block.text}{awaited}echo '{END}'$?\n"


def _type(script: str, folder: Path) -> str:
    """Runs the script; its output goes to a file, as a server that it leaves behind would keep a pipe open."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STEPFLOW_")}
    environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environ["PATH"]))
    if "stepflow dev" in script:
        environ["STEPFLOW_LISTEN_HTTP"] = "127.0.0.1:0"
    environ["STEPFLOW_URL"] = environ["STEPFLOW_LISTEN_RPC"] = f"unix:{folder}/rpc"
    with (folder / PRINTED).open("w") as stdout, (folder / COMPLAINTS).open("w") as stderr:
        shell = subprocess.Popen(
            ["sh", "-c", script],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            shell.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass  # the outcomes tell how far it came
        finally:
            _stop_group(shell)
    return (folder / PRINTED).read_text()


def _stop_group(shell: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(shell.pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _make_pattern(expected: str) -> re.Pattern[str]:
    return re.compile(".*?".join(map(re.escape, expected.split("…"))), re.DOTALL)
