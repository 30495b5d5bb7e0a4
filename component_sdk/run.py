"""A handle on one run: all that can be read of it (`following`), and all that can be done to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct

from component_sdk.codec import encode
from component_sdk.following import FollowedRun, to_ms
from component_sdk.streams import StreamWriter
from protocol import methods
from protocol.byproducts import DEFAULT_NAMESPACE
from protocol.forking import RestartParams, TimeTravelParams
from protocol.runs import (
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

    def writer(self, namespace: str = DEFAULT_NAMESPACE) -> StreamWriter:
        """A writer for a stream of the run, besides those that its components have, until the run has ended.

        Args:
            namespace: Which of the run's streams; it is made by the first write.
        """
        return StreamWriter(self._caller, self.id, namespace, self._observability)

    async def pause(self) -> RunStatus:
        """Begin no step of the run any more; what is in flight may end."""
        return await self._control(methods.PAUSE_RUN, RunParams(self.id, self._observability))

    async def unpause(self) -> RunStatus:
        """Let a paused run go on."""
        return await self._control(methods.UNPAUSE_RUN, RunParams(self.id, self._observability))

    async def restart(
        self,
        *,
        only: Literal["failed"] | None = None,
        item_indexes: Sequence[int] | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Have active steps go again, or what did not succeed.

        Args:
            only: `failed` leaves items that were cancelled as they are; only of a run that has ended.
            item_indexes: The items that are meant; default, all.
            request_id: The same is done once, and gives the same run; default, a new one for each call.

        Returns:
            This run, if it has not ended; else its fork, which re-uses what succeeded.

        Raises:
            RpcError: `INVALID_PARAMS` if there are no such items; `CONFLICT` if the run is being cancelled, or the
                `request_id` was used for something else.
            RunNotFoundError: There is no such run.
        """
        items = None if item_indexes is None else list(item_indexes)
        params = RestartParams(self.id, items, only, self._observability, request_id or uuid.uuid4().hex)
        return await self._go_again(methods.RESTART_RUN, params)

    async def time_travel(
        self,
        step: str,
        *,
        input: Any = UNSET,
        resume_data: Any = UNSET,
        context: Mapping[str, Any] | None = None,
        item_indexes: Sequence[int] | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Execute a step again, with all that depends on it, in a fork; this run stays as it is.

        Args:
            step: From which on; every other result that was recorded is re-used.
            input: What the step is executed with, instead of what its flow says.
            resume_data: What the step's last suspension returns.
            context: Outputs of steps that gave none, by step.
            item_indexes: The items that are meant; default, all. The others keep their results.
            wait: Wait until the fork has ended, or is suspended.
            timeout_s: Bounds the waiting.
            request_id: The same makes one fork; default, a new one for each call.

        Returns:
            The fork; its `events()` tell what happens in it.

        Raises:
            RpcError: `INVALID_PARAMS` if there is no such step or item; `CONFLICT` if this run still runs, or an item
                lacks a result that the step needs (`data["itemIndex"]`, `data["missing"]`); `NOT_SUSPENDED` and
                `VALIDATION_FAILED` for `resume_data`.
            RunNotFoundError: There is no such run.
        """
        params = TimeTravelParams(
            self.id,
            step,
            None if item_indexes is None else list(item_indexes),
            UNSET if input is UNSET else Raw(encode(input)),
            UNSET if resume_data is UNSET else Raw(encode(resume_data)),
            None if context is None else {name: Raw(encode(value)) for name, value in context.items()},
            wait or None,
            to_ms(timeout_s),
            self._observability,
            request_id or uuid.uuid4().hex,
        )
        return await self._go_again(methods.TIME_TRAVEL, params)

    async def _go_again(self, method: methods.Method, params: Struct) -> Run:
        status: RunStatus = await self._ask(method, params)
        if status.run_id == self.id:
            self._seen = status
            return self
        return Run(self._caller, status.run_id, status=status, observability=self._observability)

    async def _control(self, method: methods.Method, params: Struct) -> RunStatus:
        self._seen = await self._ask(method, params)
        return self._seen
