"""`stepflow dev` and the files of component servers, with real processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from component_sdk import connect
from tests.stepflow_runtime.app.cli.cli_kit import Program

SERVER = """
import trio
from component_sdk import ComponentServer

server = ComponentServer()

@server.component
async def answer(input):
    await work()
    return WORD

{rest}
server.run()
"""

STUCK = SERVER.format(rest="work = trio.sleep_forever\nWORD = 'stuck'")
MENDED = SERVER.format(rest="work = trio.lowlevel.checkpoint\nWORD = 'mended'")
BROKEN = MENDED + "def (:\n"

CONFIG = f"""
plugins:
  python: {{type: stepflow, command: "{sys.executable}", args: [server.py]}}
routes: {{/python: [{{plugin: python}}]}}
"""

FLOW = {"name": "Asking", "steps": [{"id": "a", "component": "/python/answer"}], "output": {"$step": "a"}}


class Dev:
    """`stepflow dev` in a folder with a server."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.address = program.read_line().split("listening on ")[1].split()[0]
        assert "console and HTTP at" in program.read_line()

    def save(self, text: str, name: str = "server.py") -> str:
        """Saves a file, as editors do it; returns what `stepflow dev` says next."""
        draft = self.folder / f".{name}.draft"
        draft.write_text(text)
        draft.rename(self.folder / name)
        return self.program.read_line()


@pytest.fixture
def dev(folder: Path) -> Iterator[Dev]:
    (folder / "stepflow-config.yml").write_text(CONFIG)
    (folder / "server.py").write_text(STUCK)
    with Program("dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0") as program:
        yield Dev(program, folder)
        program.interrupt(signal.SIGTERM)
        assert program.wait() == 0


def test_what_was_being_executed_goes_again_with_the_new_code(dev: Dev) -> None:
    with connect(dev.address) as client:
        run = client.start(FLOW, inputs=[1])
        assert any(run.events(types=["item.started"]))
        line = dev.save(MENDED)
        assert line.startswith("server.py changed: python restarted in ")
        assert run.return_value() == "mended"
        (retried,) = [event for event in run.events() if event.type == "step.retrying"]
        assert retried.data is not None
        assert retried.data["cause"] == "restart"
        assert "server.py changed" in retried.data["error"]["message"]


def test_code_that_does_not_start_is_shown_and_the_old_goes_on(dev: Dev) -> None:
    assert dev.save(MENDED).startswith("server.py changed: python restarted")
    assert dev.save(BROKEN) == "server.py changed, but python does not start:\n"
    shown = [dev.program.read_line() for _ in range(5)]
    assert "SyntaxError" in "".join(shown)
    assert 'server.py", line' in shown[0]
    assert shown[-1].startswith("python goes on as it was")
    with connect(dev.address) as client:
        assert client.start(FLOW, inputs=[1]).return_value() == "mended"


def test_a_module_beside_the_server_belongs_to_it_and_other_files_do_not(dev: Dev) -> None:
    (dev.folder / "notes.txt").write_text("nothing of interest")
    (dev.folder / ".venv").mkdir()
    (dev.folder / ".venv" / "library.py").write_text("WORD = 1")
    assert dev.save("WORD = 1", "words.py").startswith("words.py changed: python restarted")


def test_a_changed_configuration_asks_for_a_new_start(dev: Dev) -> None:
    assert dev.save(CONFIG, "stepflow-config.yml").startswith("stepflow-config.yml changed; stop stepflow dev")
