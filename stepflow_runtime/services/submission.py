"""What a `runs/submit` means: its checks, its limits, and the keys under which the same submission is found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from blake3 import blake3
from msgspec import Raw, Struct

from protocol.errors import ErrorCode, RpcError
from protocol.runs import FailurePolicy, MaxFailures, SubmitParams
from stepflow_runtime.engine.programs import Program
from stepflow_runtime.model.canonical import canonical_json, normalize
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema import MAX_SCHEMA_STEPS, Schema
from stepflow_runtime.model.secret import SecretReference, Secrets, make_token, quote
from stepflow_runtime.model.spec import IdempotencyKey, ParentLink, RunSpec
from stepflow_runtime.model.trace import SpanContext, begin_trace, read_trace, span_of_run
from stepflow_runtime.model.variable import find_secrets, resolve_variables
from stepflow_runtime.ports import SEGMENT_ITEMS, Execution, SecretSource
from stepflow_runtime.services.status import parse_time


class SubmitLimits(Struct, frozen=True):
    """Limits of submissions, each configurable under its name in `limits`.

    Args:
        max_concurrency: Items of a run at once, unless its submission says otherwise.
        max_items_per_submit: Inputs in one submission, or in one append.
        max_run_depth: How deeply runs nest; a root has depth 1.
        max_descendants: Sub-runs of one root, at all depths.
        max_job_runs: Runs of one job.
        max_schema_steps: Of one check against a schema.
    """

    max_concurrency: int = 1000
    max_items_per_submit: int = 1_000_000
    max_run_depth: int = 16
    max_descendants: int = 100_000
    max_job_runs: int = 1000
    max_schema_steps: int = MAX_SCHEMA_STEPS


def make_spec(
    params: SubmitParams,
    program: Program,
    *,
    run_id: RunId,
    created_at_ms: int,
    principal: str,
    client: str | None,
    parent: RunSpec | None,
    execution: Execution | None,
    child_key: str | None,
    limits: SubmitLimits,
    secrets: Secrets,
    is_traced: bool = False,
    caller: SpanContext | None = None,
) -> RunSpec:
    """Resolves a submission into what the run is.

    Args:
        principal: Whose idempotency keys are meant.
        client: What the client that submits calls itself.
        parent: The run that the submission comes from, if it comes from one.
        execution: The execution that it comes from, if that is known.
        child_key: Under which the execution finds it again.
        secrets: What its tokens stand for, see `issue_tokens`.
        is_traced: Whether a run that comes without a trace begins one.
        caller: Where whoever submits stands in a trace, if the way that it came says so.

    Raises:
        RpcError: `VALIDATION_FAILED` for variables, `LIMIT_EXCEEDED` for the depth.
    """
    depth = 1 if parent is None else parent.depth + 1
    if depth > limits.max_run_depth:
        raise limit_exceeded("maxRunDepth", limits.max_run_depth, depth, "runs are nested too deeply")
    link = None
    if parent is not None:
        item, step = (execution.item_index, execution.step_id) if execution is not None else (None, None)
        link = ParentLink(parent.run_id, item, step, child_key)
    key = params.idempotency_key
    return RunSpec(
        run_id=run_id,
        root_run_id=run_id if parent is None else parent.root_run_id,
        flow_id=BlobId(params.flow_id),
        flow_name=program.flow.name,
        flow_label=params.flow_label,
        depth=depth,
        parent=link,
        parent_close_policy=params.parent_close_policy or "cancel",
        max_concurrency=params.max_concurrency or limits.max_concurrency,
        max_failures=read_failure_policy(params.failure_policy),
        overrides=params.overrides,
        variables=_read_variables(params.variables, program, secrets, limits),
        secrets=dict(secrets),
        labels=params.labels or {},
        idempotency=None if key is None else IdempotencyKey(principal, key, idempotent_content(params)),
        run_timeout_ms=params.run_timeout_ms,
        delay_until_ms=None if params.delay_until is None else parse_time(params.delay_until, "delayUntil"),
        created_by=principal or None,
        submitted_by=client,
        created_at_ms=created_at_ms,
        trace=_find_trace(params, parent, execution, caller) or (begin_trace(run_id) if is_traced else None),
    )


def _find_trace(
    params: SubmitParams, parent: RunSpec | None, execution: Execution | None, caller: SpanContext | None
) -> SpanContext | None:
    """The span that submits: the execution's, or what the submission names, or its caller's, or its parent's."""
    if execution is not None and execution.trace is not None:
        return execution.trace
    named = params.observability
    trace = (None if named is None else read_trace(named.trace_id, named.span_id)) or caller
    if trace is None and parent is not None and parent.trace is not None:
        return span_of_run(parent.trace, parent.run_id)
    return trace


def read_failure_policy(policy: FailurePolicy | None) -> int | None:
    """How many failed items are borne; `None`: all of them."""
    match policy:
        case MaxFailures(max_failures=bearable):
            return bearable
        case "failFast":
            return 0
        case _:
            return None


def issue_tokens(
    program: Program,
    source: SecretSource | None,
    inherited: Secrets,
    is_trusted: bool,
    make_id: Callable[[], str],
    limits: SubmitLimits,
) -> Secrets:
    """Tokens for the secret variables of a flow that have a value.

    Args:
        program: The flow.
        source: Where values come from.
        inherited: The tokens of the run that submits this one: they stay valid, and give variables of the same name.
        is_trusted: Whether whoever submits may have any environment variable read that the flow names.
        make_id: Gives what nobody can guess.
        limits: What a check may take.

    Raises:
        RpcError: `VALIDATION_FAILED` for a value that does not fit its schema; the value is not told.
    """
    declared = find_secrets(program.flow.variables_schema)
    if source is None or not declared:
        return inherited
    names = {reference.name for reference in inherited.values()}
    issued = dict(inherited)
    findings = Findings()
    for variable in declared:
        if variable.name in names:
            continue
        env_var = variable.env_var
        if env_var is not None and not is_trusted and not source.may_read(env_var):
            env_var = None
        reference = SecretReference(variable.name, env_var, variable.is_text)
        value = source.find(reference)
        if value is None:
            continue
        if Schema(variable.schema).is_valid(msgspec.json.decode(value), max_steps=limits.max_schema_steps):
            issued[make_token(variable.name, make_id())] = reference
        else:
            message = f"The value of the secret variable {variable.name!r} does not fit its schema; set another one."
            findings.error("bad_secret", extend("/variables", variable.name), message)
    findings.refuse_errors("The submission")
    return issued


def _read_variables(
    given: Mapping[str, Raw] | None, program: Program, secrets: Secrets, limits: SubmitLimits
) -> dict[str, Raw]:
    schema = program.flow.variables_schema
    tokens = {reference.name: quote(token) for token, reference in secrets.items()}
    resolved = resolve_variables(
        schema,
        {name: bytes(value) for name, value in (given or {}).items()},
        {variable.name: tokens[variable.name] for variable in find_secrets(schema) if variable.name in tokens},
        limits.max_schema_steps,
    )
    return {name: Raw(value) for name, value in resolved.items()}


def copy_inputs(inputs: Sequence[Raw], limits: SubmitLimits) -> list[bytes]:
    """The inputs, detached from the frame that they came in.

    Raises:
        RpcError: `LIMIT_EXCEEDED` if there are too many.
    """
    check_size(inputs, limits)
    return [bytes(value) for value in inputs]


def check_size(inputs: Sequence[Raw], limits: SubmitLimits) -> None:
    """Refuses too many inputs.

    Raises:
        RpcError: `LIMIT_EXCEEDED`.
    """
    if len(inputs) > limits.max_items_per_submit:
        raise limit_exceeded(
            "maxItemsPerSubmit",
            limits.max_items_per_submit,
            len(inputs),
            "too many inputs at once; submit the first with `sealed: false` and add the rest with runs/append",
        )


def hash_submission(params: SubmitParams) -> str:
    """The hash of {flowId, inputs, overrides, variables}: equal for equal JSON, however it is written."""
    inputs = params.inputs
    pieces = (inputs[at : at + SEGMENT_ITEMS] for at in range(0, len(inputs), SEGMENT_ITEMS))
    digest = blake3()
    for part in (
        params.flow_id.encode(),
        b"[%b]" % b",".join([normalize(b"[%b]" % b",".join(piece))[1:-1] for piece in pieces]),
        canonical_json(params.overrides),
        normalize(msgspec.json.encode(params.variables or {})),
    ):
        digest.update(b"%d\n%b" % (len(part), part))
    return digest.hexdigest(16)


def idempotent_content(params: SubmitParams) -> str:
    """The hash of what must be the same when an idempotency key is used again."""
    policy = msgspec.json.encode(read_failure_policy(params.failure_policy))
    delay = (params.delay_until or "").encode()
    return blake3(hash_submission(params).encode() + policy + delay).hexdigest(16)


def next_child_key(execution: Execution, params: SubmitParams) -> str:
    """The key of this submission within its execution: its hash, and which of that hash it is."""
    content = hash_submission(params)
    submissions = execution.submissions = execution.submissions or {}
    ordinal = submissions[content] = submissions.get(content, 0) + 1
    return f"{content}/{ordinal}"


def limit_exceeded(name: str, limit: int, value: int, why: str, **data: Any) -> RpcError:
    """`-32020`: names the limit as the configuration does, with its `value` and the `actual` one that was too much."""
    message = f"{why}: {name} is {limit}"
    return RpcError(ErrorCode.LIMIT_EXCEEDED, message, limit=name, value=limit, actual=value, **data)
