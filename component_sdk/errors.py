"""What the SDK raises to people who write components or submit runs.

    SdkError
    ├── RegistrationError        a component that cannot be registered as it is written
    ├── CannotConnectError       no runtime at that address, or it is gone for good
    ├── ResourceUnavailable      for components to raise: something that they need is not there now
    └── RunError                 about one run; has `run_id` and `cause`
        ├── RunFailedError
        ├── RunCancelledError
        ├── RunNotFoundError
        └── RunNotCompletedError

An error that the runtime answered and that is none of these is a `protocol.errors.RpcError`.
"""

from __future__ import annotations

from protocol.errors import RpcError
from protocol.runs import ItemError


class SdkError(Exception):
    """Base of all that this package raises."""


class RegistrationError(SdkError):
    """A component that cannot be registered as it is written; nothing was changed."""


class CannotConnectError(SdkError):
    """No runtime can be reached there."""


class ResourceUnavailable(SdkError):
    """Raise it in a component if something that it needs is not there now: the step may be retried."""


class RunError(SdkError):
    """Something about one run.

    Args:
        message: One sentence.
        run_id: The run.
        cause: The error of an item, or what the runtime answered, where there is one.
    """

    def __init__(self, message: str, run_id: str, cause: ItemError | RpcError | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.cause = cause


class RunFailedError(RunError):
    """The run ended, and some item of it failed."""


class RunCancelledError(RunError):
    """The run was cancelled."""


class RunNotFoundError(RunError):
    """There is no such run, or it may not be seen from here."""


class RunNotCompletedError(RunError):
    """The run has not ended in the time that was given to it."""
