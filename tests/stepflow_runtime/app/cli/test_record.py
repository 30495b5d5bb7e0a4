"""Recorded runs: made with a real runtime, replayed without one."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from component_sdk import connect
from component_sdk.errors import SdkError
from component_sdk.server import ComponentServer
from component_sdk.testing import ReplayDiffers, replay
from protocol.recording import decode_recording
from tests.stepflow_runtime.app.cli.cli_kit import Program, Stepflow

SERVER = """
from msgspec import Struct
from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()

class Line(Struct):
    kg: int

@server.component
async def weigh(line: Line) -> int:
    if line.kg <= 0:
        raise ValueError("no weight")
    return line.kg

@server.component
async def pack(lines: list[Line], ctx: StepflowContext) -> dict[str, object]:
    run = await ctx.submit_run(flow=WEIGH, inputs=lines, wait=True)
    approved = await ctx.suspend({"lines": len(lines)}, schema=bool)
    weights = [entry.result.value for entry in run.results if entry.result.error is None]
    return {"kg": sum(weights), "bad": run.items.failed, "approved": approved}

@server.component
async def tell(text_id: str, ctx: StepflowContext) -> str:
    text = await ctx.get_blob(text_id)
    for word in text["words"]:
        await ctx.stream("words").write(word)
    await ctx.stream("raw").write(b"\\x00done")
    run = await ctx.start(WEIGH_AND_TELL, [{"kg": 3}])
    told = [chunk async for chunk in ctx.read_stream(run.id, "scale")]
    return await ctx.put_blob({"told": told, "of": text_id})

@server.component
async def scale(line: Line, ctx: StepflowContext) -> int:
    await ctx.stream("scale").write({"kg": line.kg})
    return line.kg

WEIGH = {
    "name": "weigh",
    "steps": [{"id": "w", "component": "/python/weigh", "input": {"$input": "$"}}],
    "output": {"$step": "w"},
}

WEIGH_AND_TELL = {
    "name": "scale",
    "steps": [{"id": "s", "component": "/python/scale", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}

if __name__ == "__main__":
    server.run()
"""

TELL: dict[str, Any] = {
    "name": "tell",
    "steps": [{"id": "tell", "component": "/python/tell", "input": {"$input": "$"}}],
    "output": {"$step": "tell"},
}

PACK = """
name: pack
steps:
  - {id: pack, component: /python/pack, input: {$input: "$"}}
output: {$step: pack, path: kg}
"""

CONFIG = f"""
plugins:
  python: {{type: stepflow, command: "{sys.executable}", args: [server.py]}}
routes: {{/python: [{{plugin: python}}]}}
"""


def load(text: str, folder: Path) -> ComponentServer:
    """The server of a module, as a test would import it."""
    path = folder / "changed.py"
    path.write_text(text)
    spec = spec_from_file_location("changed", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    sys.modules["changed"] = module
    spec.loader.exec_module(module)
    return module.server  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A run of two orders, of which one has a bad line, that were approved; and one of two texts, told to streams."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "server.py").write_text(SERVER)
    (folder / "pack.yaml").write_text(PACK)
    config = folder / "stepflow-config.yml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    with Program("serve", "--config", str(config), "--listen", "127.0.0.1:0") as program:
        address = program.read_line().split("listening on ")[1].split()[0]
        with connect(address) as client:
            run = client.start(str(folder / "pack.yaml"), inputs=[[{"kg": 2}, {"kg": 0}], [{"kg": 5}]])
            run.wait(wait_for="settled")
            for index in range(2):
                run.resume(True, item_index=index)
            run.wait()
            texts = [client.put_blob({"words": words}) for words in (["one", "two"], ["one"])]
            told = client.start(TELL, inputs=texts)
            assert told.wait().status == "success"
            for name, run_id in (("shop", run.id), ("tell", told.id)):
                with Program("runs", "record", run_id, str(folder / f"{name}.json"), "--url", address) as recorder:
                    assert recorder.wait() == 0
    return {name: (folder / f"{name}.json").read_bytes() for name in ("shop", "tell")}


@pytest.fixture
def recording(recordings: dict[str, bytes]) -> bytes:
    return recordings["shop"]


@pytest.fixture
def told(recordings: dict[str, bytes], folder: Path) -> Path:
    path = folder / "tell.json"
    path.write_bytes(recordings["tell"])
    return path


@pytest.fixture
def file(recording: bytes, folder: Path) -> Path:
    path = folder / "shop.json"
    path.write_bytes(recording)
    (folder / "pack.yaml").write_text(PACK)
    return path


def test_a_recording_holds_what_was_asked_and_answered_and_nothing_that_changes(recording: bytes) -> None:
    recorded = decode_recording(recording, "shop.json")
    assert [item.steps[0].component for item in recorded.items] == ["/python/pack"] * 2
    assert recorded.items[0].steps[0].input == [{"kg": 2}, {"kg": 0}]
    assert recorded.items[0].steps[0].resumes == {"1": True}
    (bad,) = [item for run in recorded.sub_runs for item in run.items if item.input == {"kg": 0}]
    assert bad.result is not None
    assert bad.result.error is not None
    assert bad.result.error.message == "ValueError: no weight"
    assert b"runId" not in recording
    assert b"stack" not in recording
    assert b"At" not in recording


def test_a_recording_holds_the_blobs_that_it_names_and_who_wrote_to_its_streams(told: Path) -> None:
    recorded = decode_recording(told.read_bytes(), "tell.json")
    text_ids = [item.input for item in recorded.items]
    assert recorded.blobs is not None
    assert [recorded.blobs[text_id].data for text_id in text_ids] == [{"words": ["one", "two"]}, {"words": ["one"]}]
    assert {"told": [{"kg": 3}], "of": text_ids[0]} in [blob.data for blob in recorded.blobs.values()]
    assert recorded.streams is not None
    assert sorted((chunk.item, chunk.data) for chunk in recorded.streams["words"]) == [
        (0, "one"),
        (0, "two"),
        (1, "one"),
    ]
    assert {chunk.encoding for chunk in recorded.streams["raw"]} == {"base64"}
    assert [run.streams is not None for run in recorded.sub_runs] == [True, True]


def test_blobs_and_streams_are_as_they_were(told: Path, folder: Path) -> None:
    assert replay(told, load(SERVER, folder)) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("write(word)", "write(word.upper())", '    -      "one",\n    -      "two"\n    +      "ONE",\n    +'),
        ('await ctx.stream("raw").write(b', "str(b", '    -        "base64": "AGRvbmU="'),
        ('write({"kg": line.kg})', 'write({"g": line.kg})', '    +        "g": 3'),
        ('"told": told', '"told": len(told)', '"value": "blake3:'),
        ("get_blob(text_id)", "get_blob('blake3:' + 64 * '0')", "It reads the blob blake3:000"),
        ('run.id, "scale"', '"run-x", "scale"', "It reads the stream scale of a run that was not recorded."),
    ],
)  # fmt: skip
def test_what_is_written_to_streams_and_blobs_is_compared(
    told: Path, folder: Path, old: str, new: str, message: str
) -> None:
    assert old in SERVER
    with pytest.raises(ReplayDiffers) as caught:
        replay(told, load(SERVER.replace(old, new), folder))
    assert message in str(caught.value)


def test_what_has_not_changed_does_the_same(file: Path, folder: Path) -> None:
    assert replay(file, load(SERVER, folder)) == 5


def test_what_has_changed_is_shown_per_item_and_step(file: Path, folder: Path) -> None:
    server = load(SERVER.replace("return line.kg\n", "return line.kg * 10\n"), folder)
    with pytest.raises(ReplayDiffers) as caught:
        replay(file, server)
    assert len(caught.value.differences) == 2
    assert f"{file}: of 5 recorded calls\n2 differ:" in str(caught.value)
    assert (
        "weigh, item 0, step w (/python/weigh)\n"
        '    input: {"kg":2}\n'
        "    --- recorded\n"
        "    +++ now\n"
        "     {\n"
        '       "outcome": "success",\n'
        '    -  "value": 2\n'
        '    +  "value": 20\n'
        "     }\n"
    ) in str(caught.value)


def test_another_error_is_a_difference(file: Path, folder: Path) -> None:
    with pytest.raises(ReplayDiffers, match="ValueError: too light"):
        replay(file, load(SERVER.replace("no weight", "too light"), folder))


def test_what_is_named_to_be_ignored_is(file: Path, folder: Path) -> None:
    server = load(SERVER.replace('"bad": run.items.failed', '"bad": 99'), folder)
    with pytest.raises(ReplayDiffers):
        replay(file, server)
    assert replay(file, server, ignore=["bad"]) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "async def weigh",
            "async def measure",
            "The server has no such component any more; it has: /measure, /pack",
        ),
        ('"name": "weigh"', '"name": "other"', "It submits a run that was not recorded: other with "),
        ("schema=bool)", 'schema=bool, label="boss")', "It suspends as 'boss', which it did not when recorded."),
    ],
)
def test_what_a_recording_says_nothing_about_is_named(
    file: Path, folder: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ReplayDiffers) as caught:
        replay(file, load(SERVER.replace(old, new), folder))
    assert "cannot be replayed:" in str(caught.value)
    assert message in str(caught.value)
    assert "stepflow runs record RUN" in str(caught.value)


def test_only_the_calls_of_a_prefix_are_made(file: Path, folder: Path) -> None:
    with pytest.raises(SdkError, match="no call of a component beneath /other"):
        replay(file, load(SERVER, folder), prefix="/other")


@pytest.mark.parametrize(
    "content", ["{}", "no json", '{"recording": 1, "flowId": "", "flow": {}, "items": [], "subRuns": []}']
)
def test_a_file_that_is_no_recording_says_how_to_make_one(folder: Path, content: str) -> None:
    (folder / "shop.json").write_text(content)
    with pytest.raises(SdkError, match=r"shop\.json .*record"):
        replay(folder / "shop.json", load(SERVER, folder))


def test_the_same_flow_does_the_same(file: Path, stepflow: Stepflow) -> None:
    done = stepflow("flows", "replay", "pack.yaml", "shop.json")
    assert (done.code, done.out) == (0, "2 items replayed, nothing differs\n")


def test_a_changed_flow_shows_what_becomes_of_each_item(file: Path, folder: Path, stepflow: Stepflow) -> None:
    (folder / "pack.yaml").write_text(PACK.replace("path: kg", "path: bad"))
    done = stepflow("flows", "replay", "pack.yaml", "shop.json")
    assert done.code == 1
    assert "item 0 has another result\n    --- recorded\n    +++ now\n" in done.out
    assert '    -  "value": 2\n    +  "value": 1\n' in done.out
    assert "2 items replayed, 2 differences" in done.out


def test_a_step_that_calls_something_else_is_told_to_be_unknown(file: Path, folder: Path, stepflow: Stepflow) -> None:
    (folder / "pack.yaml").write_text(PACK.replace("component: /python/pack", "component: /python/send"))
    done = stepflow("flows", "replay", "pack.yaml", "shop.json", "-o", "json")
    assert done.code == 1
    assert [(one["itemIndex"], one["kind"], one["step"]) for one in done.json] == [
        (0, "unknown", "pack"),
        (1, "unknown", "pack"),
    ]


def test_an_added_step_and_a_removed_one_are_told(file: Path, folder: Path, stepflow: Stepflow) -> None:
    (folder / "pack.yaml").write_text(PACK.replace("{$step: pack, path: kg}", "7"))
    done = stepflow("flows", "replay", "pack.yaml", "shop.json")
    assert "item 0: step pack is not called any more" in done.out
    (folder / "pack.yaml").write_text(PACK.replace("id: pack", "id: packed").replace("$step: pack,", "$step: packed,"))
    done = stepflow("flows", "replay", "pack.yaml", "shop.json")
    assert "item 0: step packed is called, and was not when recorded" in done.out
    assert "has another result" not in done.out


def test_a_run_that_has_not_ended_is_not_recorded(address: str, stepflow: Stepflow) -> None:
    run_id = stepflow("submit", "stuck.yaml", "-o", "json").json["runId"]
    done = stepflow("runs", "record", run_id, "stuck.json")
    assert done.code == 2
    assert "record it when it has ended" in done.err
