"""Runs, as people look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.markup import escape

from protocol.byproducts import Artifact
from protocol.runs import RunEvent, RunStatus
from stepflow_runtime.app.cli.boundary import Settings
from stepflow_runtime.app.cli.options import Format
from stepflow_runtime.app.cli.output import describe_duration, paint, print_facts, print_rows, seconds_between, shorten

RUN_COLUMNS = ("RUN", "FLOW", "STATUS", "ITEMS", "AGE")
ARTIFACT_COLUMNS = ("NAME", "ITEM", "TYPE", "SIZE", "BLOB")
EVENT_COLUMNS = ("SEQ", "AT", "EVENT", "ITEM", "STEP", "DATA")


def print_status(status: RunStatus, form: Format) -> None:
    """All that a status says, without results."""
    print_facts(form, make_run_value(status), _list_facts(status))


def print_runs(form: Format, runs: Sequence[RunStatus], nothing: str = "") -> None:
    """Runs, a row each; `nothing` is what a table without rows says."""
    if form is Format.TABLE:
        print_rows(form, runs, RUN_COLUMNS, make_run_cells, nothing)
    else:
        print_rows(form, [make_run_value(run) for run in runs], RUN_COLUMNS, make_run_cells, nothing)


def make_run_value(status: RunStatus) -> Any:
    """A run as programs get it: as on the wire, but in the words that `--vocabulary` asks for."""
    word = translate_status(status)
    return status if word is None else {**msgspec.to_builtins(status), "status": word}


def translate_status(status: RunStatus) -> str | None:
    """Its status in the words that `--vocabulary` asks for; `None` if it asks for none."""
    settings = click.get_current_context().obj
    vocabulary = settings.vocabulary if isinstance(settings, Settings) else None
    return None if vocabulary is None else status.as_(vocabulary)


def make_run_cells(status: RunStatus) -> tuple[str, ...]:
    """A run as a row under `RUN_COLUMNS`."""
    items = status.items
    ended = items.success + items.failed + items.cancelled
    counts = f"{ended:,}/{items.total:,}" + (f" [red]{items.failed:,} failed[/]" if items.failed else "")
    name = escape(status.flow_label or status.flow_name or status.flow_id[:14])
    return status.run_id, name, paint(status.status, translate_status(status)), counts, _describe_age(status)


def make_event_cells(event: RunEvent) -> tuple[str, ...]:
    """An event as a row under `EVENT_COLUMNS`."""
    data = msgspec.json.encode(event.data).decode() if event.data else ""
    item = "" if event.item_index is None else str(event.item_index)
    return str(event.seq), event.at[11:23], event.type, item, escape(event.step_id or ""), escape(shorten(data))


def make_artifact_cells(artifact: Artifact) -> tuple[str, ...]:
    """An artifact as a row under `ARTIFACT_COLUMNS`."""
    item = "" if artifact.item_index is None else str(artifact.item_index)
    return escape(artifact.name), item, escape(artifact.mime_type), f"{artifact.size:,}", artifact.blob_id


def _list_facts(status: RunStatus) -> Iterator[tuple[str, str | None]]:
    detail = f" ({escape(status.status_detail)})" if status.status_detail else ""
    yield "run", status.run_id + (" [dim](it was there already)[/]" if status.deduplicated else "")
    yield "flow", escape(status.flow_name or "")
    yield "flow id", status.flow_id
    yield "status", paint(status.status, translate_status(status)) + detail
    yield "items", _describe_items(status)
    yield "created", status.created_at
    yield "completed", status.completed_at
    yield "took", _describe_time(status)
    yield "step", escape(status.current_state_name or "")
    yield "parent", status.parent_run_id
    yield "root", status.root_run_id if status.root_run_id != status.run_id else None
    yield "job", status.job_run_id
    yield "fork of", status.forked_from
    yield "created by", escape(status.created_by or "")
    yield "labels", escape(", ".join(f"{key}={value}" for key, value in (status.labels or {}).items()))
    yield "cancelled", escape(status.cancel_reason or "")


def _describe_items(status: RunStatus) -> str:
    counts = msgspec.to_builtins(status.items)
    total = counts.pop("total")
    return f"{total:,}" + "".join(f" · {count:,} {name}" for name, count in counts.items() if count)


def _describe_age(status: RunStatus) -> str:
    age_s = seconds_between(status.created_at, datetime.now(UTC).isoformat())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= size:
            return f"{age_s // size:.0f} {unit}"
    return f"{max(0.0, age_s):.0f} s"


def _describe_time(status: RunStatus) -> str:
    end = status.completed_at or datetime.now(UTC).isoformat()
    return describe_duration(max(0.0, seconds_between(status.created_at, end)))
