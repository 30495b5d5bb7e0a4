"""The SDK: for people who write components, or submit runs.

Components: `ComponentServer`, `StepflowContext` (`BlockingContext` for a plain `def`). Scripts: `connect`, or
`open_client` under trio. Flows in Python: `FlowBuilder`. Tests: `component_sdk.testing`. Above it there is only what
people write; below it lies `protocol`, the wire, which is all that it shares with the runtime.

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from component_sdk.automation import JobRun
    from component_sdk.batch import Batch
    from component_sdk.client import Client, open_client
    from component_sdk.codec import Unfit
    from component_sdk.context import StepflowContext
    from component_sdk.errors import (
        CannotConnectError,
        RegistrationError,
        ResourceUnavailable,
        RunCancelledError,
        RunError,
        RunFailedError,
        RunNotCompletedError,
        RunNotFoundError,
        SdkError,
    )
    from component_sdk.flow import FlowBuilder
    from component_sdk.run import Run
    from component_sdk.server import ComponentServer
    from component_sdk.sync import BlockingContext, connect
    from protocol.automation import DeliveryInfo, DeliveryState, JobStatus, Schedule, Webhook
    from protocol.byproducts import Artifact
    from protocol.errors import RpcError
    from protocol.runs import (
        ItemCounts,
        ItemEntry,
        ItemError,
        ItemResult,
        MaxFailures,
        Outcome,
        ResultOrder,
        RunEvent,
        RunState,
        RunStatus,
        RunWebhookParams,
    )

_HOMES: Final = {
    "component_sdk.batch": ("Batch",),
    "component_sdk.automation": ("JobRun",),
    "component_sdk.client": ("Client", "open_client"),
    "component_sdk.codec": ("Unfit",),
    "component_sdk.context": ("StepflowContext",),
    "component_sdk.errors": (
        "CannotConnectError",
        "RegistrationError",
        "ResourceUnavailable",
        "RunCancelledError",
        "RunError",
        "RunFailedError",
        "RunNotCompletedError",
        "RunNotFoundError",
        "SdkError",
    ),
    "component_sdk.flow": ("FlowBuilder",),
    "component_sdk.run": ("Run",),
    "component_sdk.server": ("ComponentServer",),
    "component_sdk.sync": ("BlockingContext", "connect"),
    "protocol.byproducts": ("Artifact",),
    "protocol.automation": ("DeliveryInfo", "DeliveryState", "JobStatus", "Schedule", "Webhook"),
    "protocol.errors": ("RpcError",),
    "protocol.runs": (
        "ItemCounts",
        "ItemEntry",
        "ItemError",
        "ItemResult",
        "MaxFailures",
        "Outcome",
        "ResultOrder",
        "RunEvent",
        "RunState",
        "RunStatus",
        "RunWebhookParams",
    ),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Artifact",
    "Batch",
    "BlockingContext",
    "CannotConnectError",
    "Client",
    "ComponentServer",
    "DeliveryInfo",
    "DeliveryState",
    "FlowBuilder",
    "ItemCounts",
    "ItemEntry",
    "ItemError",
    "ItemResult",
    "JobRun",
    "JobStatus",
    "MaxFailures",
    "Outcome",
    "RegistrationError",
    "ResourceUnavailable",
    "ResultOrder",
    "RpcError",
    "Run",
    "RunCancelledError",
    "RunError",
    "RunEvent",
    "RunFailedError",
    "RunNotCompletedError",
    "RunNotFoundError",
    "RunState",
    "RunStatus",
    "RunWebhookParams",
    "Schedule",
    "SdkError",
    "StepflowContext",
    "Unfit",
    "Webhook",
    "connect",
    "open_client",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
