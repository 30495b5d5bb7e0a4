"""Time, names and secrets: what is neither stored nor connected."""

from __future__ import annotations

from typing import Any, Protocol

from stepflow_runtime.model.ids import ExecutionId, RunId
from stepflow_runtime.model.secret import SecretReference


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the epoch. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds. Never jumps; for durations within this process."""
        ...


class Ids(Protocol):
    def run_id(self) -> RunId:
        """A new UUIDv7."""
        ...

    def execution_id(self) -> ExecutionId:
        """A new id that cannot be guessed (128 bits)."""
        ...


class SecretSource(Protocol):
    """Knows the values of secret variables, and keeps them out of texts."""

    def find(self, reference: SecretReference) -> bytes | None:
        """The value, raw JSON; `None` if there is none. Looked up now: it may have changed."""
        ...

    def may_read(self, env_var: str) -> bool:
        """Whether anybody's flow may have this environment variable read."""
        ...

    def scrub(self, text: str) -> str:
        """The text without any value that was ever found. Costs nothing if none was."""
        ...

    def scrub_json(self, value: Any) -> Any:
        """The same for a JSON value, however it is nested."""
        ...
