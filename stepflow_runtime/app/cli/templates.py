"""Runs that a runtime submits itself, as people write them in a file or on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protocol.automation import RunTemplate
from protocol.link import Link
from stepflow_runtime.app.cli.arguments import JsonLines, read_json
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.submission import Submission, store_flow
from stepflow_runtime.model.canonical import is_blob_id


def read_job(path: Path) -> tuple[str | None, list[dict[str, Any]]]:
    """The name and the runs of a job file: JSON or YAML, `{name?, runs: [{flow, inputs | inputsFile, …}]}`.

    Raises:
        CliError: It cannot be read, or is none.
    """
    try:
        job = msgspec.json.decode(read_json(f"@{path}", "FILE"), type=dict[str, Any])
        runs = msgspec.convert(job["runs"], list[dict[str, Any]])
    except (msgspec.ValidationError, KeyError):
        message = f"{path} is no job; it is written {{name: NAME, runs: [{{flow: FILE, inputs: […]}}, …]}}."
        raise CliError(message) from None
    return job.get("name"), runs


async def make_template(link: Link, run: dict[str, Any], folder: Path) -> RunTemplate:
    """A run of a job file, with its flow stored.

    Args:
        link: To the runtime.
        run: As it is written.
        folder: What its paths are relative to.

    Raises:
        CliError: Something in it cannot be read.
    """
    fields = dict(run)
    flow, inputs_file = fields.pop("flow", None), fields.pop("inputsFile", None)
    if isinstance(flow, str) and not is_blob_id(flow):
        fields["flowId"] = await store_flow(link, load_valid_flow(folder / flow).content)
    elif flow is not None:
        fields["flowId"] = flow
    if inputs_file is not None:
        chunks = JsonLines(folder / str(inputs_file)).chunks()
        fields["inputs"] = [value for chunk in chunks for value in chunk]
    try:
        return msgspec.json.decode(msgspec.json.encode(fields), type=RunTemplate)
    except msgspec.ValidationError as error:
        raise CliError(f"A run of the job is wrong: {error}; it needs a flow, and inputs or inputsFile.") from None


def template_of(submission: Submission, flow_id: str) -> RunTemplate:
    """A submission as a template, with all its inputs."""
    inputs = [value for chunk in submission.chunks for value in chunk]
    params = msgspec.structs.replace(submission.params, flow_id=flow_id, inputs=inputs)
    return RunTemplate(**{name: getattr(params, name) for name in RunTemplate.__struct_fields__})
