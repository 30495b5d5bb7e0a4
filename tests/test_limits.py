"""Every limit is told, those that can be configured and those that cannot; and what is configured is what holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from docs.limits import FIXED
from protocol.errors import RpcError
from protocol.link import Link
from protocol.methods import GET_RUN, PUT_BLOB, RESUME_RUN, SUBMIT_RUN
from protocol.runs import GetRunParams, ResumeParams, RunStatus, SubmitParams, WaitFor
from protocol.types import BlobType, PutBlobParams
from stepflow_runtime.app import config
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ("stepflow_runtime", "protocol", "component_sdk")
CONSTANT: Final = re.compile(r"^(_?(?:MAX|MIN)_\w+)\b[^=\n]*=", re.MULTILINE)

REFUSE_NOTHING: Final = {
    "a pace, or a share of work": {
        "stepflow_runtime.engine.stretches:MIN_LEAD",
        "stepflow_runtime.engine.stretches:MAX_LEAD",
        "stepflow_runtime.engine.inputs:MAX_BUFFERED",
        "stepflow_runtime.engine.loading:MAX_ROWS",
        "stepflow_runtime.services.automation.delivering:MAX_SLEEP_S",
        "stepflow_runtime.services.automation.scheduling:MAX_SLEEP_S",
        "stepflow_runtime.store.writer:MAX_GROUP_JOBS",
        "stepflow_runtime.store.writer:MAX_GROUP_WEIGHT",
        "stepflow_runtime.store.writer:MAX_INLINE_WEIGHT",
        "stepflow_runtime.store.writer:MAX_INLINE_S",
        "component_sdk.workers:MAX_WAKING",
        "component_sdk.inputs:MAX_CHUNK_BYTES",
        "component_sdk.inputs:MAX_CHUNK_ITEMS",
        "component_sdk.streams:MAX_CHUNKS",
        "component_sdk.streams:MAX_BYTES",
        "component_sdk.backends:MAX_THREADS",
        "component_sdk.connection:MAX_LOSSES",
    },
    "what is remembered; the rest is looked up": {
        "stepflow_runtime.engine.waking:MAX_LOADED",
        "stepflow_runtime.engine.waking:MAX_SPENT_TOKENS",
        "stepflow_runtime.engine.facts:MAX_REMEMBERED",
        "stepflow_runtime.connect.router:MAX_REMEMBERED",
        "stepflow_runtime.store.recent:MAX_BYTES",
        "stepflow_runtime.store.recent:MAX_RUN_BYTES",
    },
    "how much is inferred of types; the rest is unknown": {
        "stepflow_runtime.model.types.fitting:MAX_STEPS",
        "stepflow_runtime.model.types.flow_types:MAX_TYPED_STEPS",
        "stepflow_runtime.model.types.lattice:MAX_SHAPES",
        "stepflow_runtime.model.types.constants:MAX_CONSTANT_VALUES",
        "stepflow_runtime.model.types.constants:MAX_CONSTANT_DEPTH",
        "stepflow_runtime.model.types.reading:MAX_SCHEMAS",
        "stepflow_runtime.model.types.reading:MAX_PAIRS",
        "stepflow_runtime.model.types.reading:MAX_DEPTH",
        "stepflow_runtime.model.types.writing:MAX_WRITTEN",
    },
    "how much is shown": {
        "stepflow_runtime.model.types.writing:MAX_SHOWN",
        "stepflow_runtime.model.types.writing:MAX_SHOWN_CHARACTERS",
        "stepflow_runtime.model.types.writing:MAX_SHOWN_DEPTH",
        "stepflow_runtime.model.path:MAX_QUOTED",
        "stepflow_runtime.model.quoting:MAX_WIDTH",
        "stepflow_runtime.model.schema:_MAX_MESSAGE",
        "stepflow_runtime.model.schema:MAX_DESCRIBED_STEPS",
        "stepflow_runtime.model.builder_code:MAX_WRITTEN_DEPTH",
        "stepflow_runtime.services.suspensions:MAX_ISSUES",
        "stepflow_runtime.store.maintenance:MAX_DAMAGES",
        "stepflow_runtime.connect.mcp.bridge:MAX_MESSAGE_CHARS",
        "stepflow_runtime.connect.durations:MAX_COMPONENTS",
        "stepflow_runtime.app.cli.run_screen:MAX_ENTRIES",
        "stepflow_runtime.web.console.json_view:MAX_BYTES",
        "stepflow_runtime.web.console.json_view:MAX_ENTRIES",
        "stepflow_runtime.web.console.json_view:MAX_DEPTH",
        "stepflow_runtime.web.console.graph_layout:MAX_DRAWN",
    },
    "a bound of the arithmetic": {
        "stepflow_runtime.model.schema_cost:_MAX_ROUNDS",
        "stepflow_runtime.model.schema_cost:_MAX_ROUND_STEPS",
        "stepflow_runtime.model.schema_cost:_MAX_BOUND",
    },
    "the default of one that is configured": {
        "stepflow_runtime.model.schema:MAX_SCHEMA_STEPS",
        "protocol.first_line:MAX_CONNECTING",
        "protocol.peer:MAX_QUEUED_BYTES",
    },
}
"""Constants that are called like limits, and that nobody meets."""


def find_constants() -> Iterator[str]:
    for path in (path for source in SOURCES for path in (ROOT / source).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield from (f"{module}:{name}" for name in CONSTANT.findall(path.read_text()))


def test_every_limit_that_nobody_sets_is_told() -> None:
    told = {f"{fixed.module.__name__}:{fixed.name}" for fixed in FIXED}
    known = set[str]().union(*REFUSE_NOTHING.values())
    found = set(find_constants())
    assert found - told - known == set(), "tell them in docs/limits.py, or say in REFUSE_NOTHING why nobody meets them"
    assert known - found == set()
    assert not told & known


def test_every_limit_of_the_configuration_is_used() -> None:
    text = "".join(
        path.read_text() for path in (ROOT / "stepflow_runtime" / "app").glob("*.py") if path.stem != "config"
    )
    for shape in (config.RuntimeLimits, config.WebhookConfig):
        for field in msgspec.structs.fields(shape):
            assert f".{field.name}" in text, field.name


# --- the budget of checks against schemas ---------------------------------------------------------------------------

LIST: Final = {"type": "array", "items": {"type": "integer"}}
LONG: Final = list(range(1000))
FLOW: Final = {
    "schemas": {
        "type": "object",
        "properties": {"input": LIST, "variables": {"type": "object", "properties": {"v": LIST}}},
    },
    "steps": [{"id": "ask", "component": "/builtin/suspend", "input": {"resume_schema": LIST}}],
    "output": {"$step": "ask"},
}
NAMED: Final = {"limit": "maxSchemaSteps", "value": 1000}


async def submit(client: Link, input: Any, variables: Any = (), wait_for: WaitFor | None = None) -> RunStatus:
    blob = PutBlobParams(msgspec.Raw(msgspec.json.encode(FLOW)), BlobType.FLOW)
    flow_id = (await client.call(PUT_BLOB, blob)).blob_id
    raw = {"v": msgspec.Raw(msgspec.json.encode(variables))}
    params = SubmitParams(flow_id, [msgspec.Raw(msgspec.json.encode(input))], wait=True, variables=raw)
    params.wait_for = wait_for
    status: RunStatus = await client.call(SUBMIT_RUN, params)
    return status


async def test_what_checking_against_a_schema_may_take_is_configured_and_named_wherever_it_is_hit() -> None:
    text = b"{plugins: {b: {type: builtin}}, limits: {maxSchemaSteps: 1000}, storage: {type: memory}}"
    settings = parse_config(text, "c.yml", Path("/tmp"), {})
    with trio.fail_after(20):
        async with open_runtime(settings) as runtime, runtime.connect_local() as client:
            results = (await submit(client, LONG)).results
            assert results is not None
            error = results[0].result.error
            assert error is not None
            assert (error.code, error.data) == ("LIMIT_EXCEEDED", NAMED)
            with pytest.raises(RpcError) as refused:
                await submit(client, [1], LONG)
            assert refused.value.data == {"type": "limitExceeded", **NAMED}
            run_id = (await submit(client, [1], [1], WaitFor.SETTLED)).run_id
            with pytest.raises(RpcError) as refused:
                await client.call(RESUME_RUN, ResumeParams(run_id, resume_data=msgspec.Raw(msgspec.json.encode(LONG))))
            assert refused.value.data == {"type": "limitExceeded", **NAMED}
            await client.call(RESUME_RUN, ResumeParams(run_id, resume_data=msgspec.Raw(b"[1]")))
            done: RunStatus = await client.call(GET_RUN, GetRunParams(run_id, wait=True))
            assert done.status == "success"
