"""Flows made ready to run: read from their blobs, with overrides applied, compiled, and kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.engine.plan import Plan, compile_plan
from stepflow_runtime.engine.stretches import InputCheck
from stepflow_runtime.model.canonical import canonical_json, parse_json
from stepflow_runtime.model.flow import Flow, parse_flow
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.override import apply_overrides
from stepflow_runtime.model.schema import MAX_SCHEMA_STEPS, compile_input_checker
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import BlobStore, StoreCorrupt

KEPT: Final = 256
"""Programs kept in memory, the least recently used is dropped first."""


class Program(Struct, frozen=True):
    """A flow with its overrides, ready to run."""

    flow: Flow
    plan: Plan
    check_input: InputCheck | None


class Programs:
    """Finds the program of a flow id.

    Args:
        blobs: Where flows are.
        max_schema_steps: What checking an input may take.
    """

    def __init__(self, blobs: BlobStore, max_schema_steps: int = MAX_SCHEMA_STEPS) -> None:
        self._blobs = blobs
        self._max_schema_steps = max_schema_steps
        self._kept: OrderedDict[tuple[BlobId, bytes], Program] = OrderedDict()

    @property
    def flow_ids(self) -> set[BlobId]:
        """The flows that are ready to run."""
        return {flow_id for flow_id, _ in self._kept}

    async def of(self, spec: RunSpec) -> Program:
        """The program of a run: its flow with its overrides, and in a fork with the input that one step is to have.

        Raises:
            RpcError: See `get`.
            StoreUnavailable: It cannot be read now.
        """
        program, fork = await self.get(spec.flow_id, spec.overrides), spec.fork
        if fork is None or fork.input is UNSET:
            return program
        given = {"$literal": parse_json(bytes(fork.input))}
        steps = [replace(step, input=given) if step.id == fork.step else step for step in program.flow.steps]
        flow = replace(program.flow, steps=tuple(steps))
        return Program(flow, compile_plan(flow), program.check_input)

    async def get(self, flow_id: BlobId, overrides: dict[str, Any] | None = None) -> Program:
        """The flow, compiled.

        Raises:
            RpcError: `NOT_FOUND` if there is no such blob, `VALIDATION_FAILED` if it is not a flow, or the overrides
                make it one that cannot run, `INTERNAL_ERROR` if the blob is damaged.
            StoreUnavailable: It cannot be read now.
        """
        key = flow_id, canonical_json(overrides) if overrides else b""
        program = self._kept.get(key)
        if program is not None:
            self._kept.move_to_end(key)
            return program
        try:
            blob = await self._blobs.get(flow_id)
        except StoreCorrupt as error:
            raise RpcError(ErrorCode.INTERNAL_ERROR, str(error), kind="flow", blobId=flow_id) from error
        if blob is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"there is no blob {flow_id}: put the flow first", kind="flow")
        flow = parse_flow(apply_overrides(parse_json(blob[0]), overrides))
        plan = compile_plan(flow)
        checker = compile_input_checker(flow.input_schema, self._max_schema_steps)
        program = Program(flow, plan, checker.check if checker is not None else None)
        self._kept[key] = program
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return program
