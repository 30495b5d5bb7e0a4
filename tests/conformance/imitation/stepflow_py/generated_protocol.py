"""The shapes that stepflow-py 0.7 decodes answers into: what is missing or of another type is refused."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

Object = dict[str, Any]


class BlobType(Enum):
    flow = "flow"
    data = "data"


METHODS: Final = frozenset(
    {"initialize", "initialized", "components/list", "components/info", "components/execute", "blobs/put", "blobs/get"}
    | {"flows/evaluate", "flows/get_metadata", "flows/submit_batch", "flows/get_batch"}
)

_RESULTS: Final[dict[str, dict[str, type]]] = {
    "blobs/put": {"blob_id": str},
    "blobs/get": {"data": object, "blob_type": str},
    "flows/evaluate": {"result": dict},
    "flows/get_metadata": {"flow_metadata": dict},
    "flows/submit_batch": {"batch_id": str, "total_runs": int},
    "flows/get_batch": {"details": dict},
    "runs/submit": {"runId": str},
}
_DETAILS: Final[dict[str, type]] = {
    **dict.fromkeys(("batch_id", "flow_id", "status", "created_at"), str),
    **dict.fromkeys(("total_runs", "completed_runs", "running_runs", "failed_runs"), int),
    **dict.fromkeys(("cancelled_runs", "paused_runs"), int),
}


def check_result(method: str, result: Object) -> None:
    """Refuses a result that 0.7 could not decode."""
    _check(result, _RESULTS[method])
    if method == "flows/evaluate":
        check_flow_result(result["result"])
    if method == "flows/get_batch":
        _check(result["details"], _DETAILS)
        for output in result.get("outputs") or ():
            _check(output, {"batch_input_index": int, "status": str})
            if output.get("result") is not None:
                check_flow_result(output["result"])


def check_flow_result(result: Object) -> None:
    """Refuses what is none of `FlowResult`."""
    match result.get("outcome"):
        case "success":
            _check(result, {"result": object})
        case "failed":
            _check(result["error"], {"code": int, "message": str})
        case other:
            raise TypeError(f"no outcome: {other!r}")


def _check(value: Object, fields: dict[str, type]) -> None:
    for name, kind in fields.items():
        if name not in value or not isinstance(value[name], kind):
            raise TypeError(f"{name} in {value} must be {kind.__name__}")
