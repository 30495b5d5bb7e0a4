"""A handle on one run: all that can be read of it (`following`), and all that can be done to it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct

from component_sdk.codec import encode
from component_sdk.following import FollowedRun, to_ms
from protocol import methods
from protocol.types import (
    CancelRunParams,
    CancelRunResult,
    ResumeParams,
    RunParams,
    RunStatus,
    WakeUpParams,
    WakeUpResult,
)


class Run(FollowedRun):
    """One run.

    Args:
        caller: Takes the requests to the runtime.
        id: The run's id; it is not looked up before something is asked.
        status: What is known of it, if anything.
        observability: Goes with every request.
    """

    async def cancel(self, reason: str | None = None, *, grace_s: float | None = None) -> CancelRunResult:
        """Cancel the run and wait until it has ended. On an ended run it changes nothing.

        Args:
            reason: For people; it is kept.
            grace_s: How long what is in flight may still give results; the runtime's default is 5.

        Raises:
            RunNotFoundError: There is no such run.
        """
        params = CancelRunParams(self.id, reason=reason, grace_ms=to_ms(grace_s), observability=self._observability)
        result: CancelRunResult = await self._ask(methods.CANCEL_RUN, params)
        self._seen = result.run
        return result

    async def resume(
        self,
        data: Any = UNSET,
        *,
        step: str | None = None,
        label: str | None = None,
        item_index: int | None = None,
        token: str | None = None,
        request_id: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> RunStatus:
        """Resume a step that is suspended. What is not said need not be: one suspension must be meant.

        Args:
            data: What the step is resumed with; any value that has a JSON form.
            step, label, item_index, token: Which suspension is meant.
            request_id: The same gives the first answer; default, a new one for each call.
            wait: Wait until the run has ended, or is suspended again.
            timeout_s: Bounds the waiting.

        Raises:
            RpcError: `NOT_SUSPENDED` if there is no such suspension, or several (`data["available"]`);
                `ALREADY_RESUMED`; `VALIDATION_FAILED` if the data does not fit, with `data["issues"]`.
            RunNotFoundError: There is no such run.
        """
        params = ResumeParams(
            self.id,
            step,
            label,
            item_index,
            token,
            UNSET if data is UNSET else Raw(encode(data)),
            request_id or uuid.uuid4().hex,
            wait or None,
            to_ms(timeout_s),
            self._observability,
        )
        return await self._control(methods.RESUME_RUN, params)

    async def wake_up(self, correlation_ids: Sequence[str] | None = None) -> int:
        """End sleeps before their time.

        Args:
            correlation_ids: Of the sleeps that are meant; default, all of the run.

        Returns:
            How many it were.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ids = None if correlation_ids is None else list(correlation_ids)
        result: WakeUpResult = await self._ask(methods.WAKE_UP_RUN, WakeUpParams(self.id, ids, self._observability))
        return result.stopped_count

    async def pause(self) -> RunStatus:
        """Begin no step of the run any more; what is in flight may end."""
        return await self._control(methods.PAUSE_RUN, RunParams(self.id, self._observability))

    async def unpause(self) -> RunStatus:
        """Let a paused run go on."""
        return await self._control(methods.UNPAUSE_RUN, RunParams(self.id, self._observability))

    async def _control(self, method: methods.Method, params: Struct) -> RunStatus:
        self._seen = await self._ask(method, params)
        return self._seen
