"""Jobs, schedules and webhooks of a runtime: what a client does with them.

Plain `await` over a `Caller`, like `access`; `sync` has the same, blocking.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from msgspec import Raw

from component_sdk.access import RuntimeAccess, make_submission
from component_sdk.codec import encode
from component_sdk.flow_file import FlowSource
from component_sdk.following import to_ms
from component_sdk.paging import Paged
from protocol import methods
from protocol.automation import (
    CancelJobParams,
    CreateScheduleParams,
    DeliveryInfo,
    DeliveryState,
    GetJobParams,
    JobStatus,
    ListDeliveriesParams,
    ListJobsParams,
    ListSchedulesParams,
    ListWebhooksParams,
    Overlap,
    RedeliverParams,
    RegisterWebhookParams,
    RunTemplate,
    Schedule,
    ScheduleParams,
    SubmitJobParams,
    Webhook,
    WebhookParams,
)
from protocol.runs import FailurePolicy, RegisteredWebhook

T = TypeVar("T")


class TemplateOptions(TypedDict, total=False):
    """What else a run that the runtime submits itself may say; the keys are those of `RunOptions`."""

    max_concurrency: int | None
    overrides: Mapping[str, Any] | None
    variables: Mapping[str, Any] | None
    flow_label: str | None
    labels: Mapping[str, str] | None
    failure_policy: FailurePolicy | None
    run_timeout_s: float | None


class JobRun(TemplateOptions, total=False):
    """A run of a job.

    Keys:
        flow: A flow id, the path of a YAML or JSON file, a flow as data, or a builder.
        inputs: One per item.
    """

    flow: FlowSource
    inputs: Iterable[Any]


class AutomationAccess(RuntimeAccess):
    """What a runtime does by itself: jobs, schedules, webhooks."""

    __slots__ = ()

    # --- jobs ---

    async def submit_job(
        self,
        runs: Iterable[JobRun],
        *,
        name: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> JobStatus:
        """Submit runs that are executed one after the other; a failure stops the rest.

        Args:
            runs: In their order. Flows, variables and overrides are resolved now, for all of them.
            name: For people.
            wait: Answer when the job has ended; else once it is durable.
            timeout_s: Bounds the waiting, not the job.
            idempotency_key: The same key with the same runs gives the first job; by default a new one.

        Raises:
            RpcError: What the runtime refuses of a run, with its index in `data["runIndex"]`; then none begins.
        """
        templates = [await self._make_template(dict(run)) for run in runs]
        params = SubmitJobParams(
            name=name,
            runs=templates,
            idempotency_key=idempotency_key or str(uuid.uuid4()),
            wait=wait or None,
            timeout_ms=to_ms(timeout_s),
        )
        status: JobStatus = await self._caller.call(methods.SUBMIT_JOB, params)
        return status

    async def get_job(self, job_run_id: str, *, wait: bool = False, timeout_s: float | None = None) -> JobStatus:
        """Look a job up.

        Args:
            job_run_id: As `submit_job` gave it.
            wait: Answer when it has ended.
            timeout_s: Bounds the waiting.

        Raises:
            RpcError: `NOT_FOUND`.
        """
        params = GetJobParams(job_run_id, wait or None, to_ms(timeout_s))
        status: JobStatus = await self._caller.call(methods.GET_JOB, params)
        return status

    def list_jobs(self) -> Paged[JobStatus]:
        """Jobs, newest first, over all pages."""
        return self._list(methods.LIST_JOBS, ListJobsParams(), "jobs")

    async def cancel_job(
        self, job_run_id: str, reason: str | None = None, *, grace_s: float | None = None
    ) -> JobStatus:
        """Cancel a job with the run that it is at, and wait for its end. One that has ended does not change.

        Args:
            job_run_id: As `submit_job` gave it.
            reason: For people; it is kept.
            grace_s: How long what is in flight may still give results; the runtime's default is 5.

        Raises:
            RpcError: `NOT_FOUND`.
        """
        params = CancelJobParams(job_run_id, reason, to_ms(grace_s))
        status: JobStatus = await self._caller.call(methods.CANCEL_JOB, params)
        return status

    # --- schedules ---

    async def create_schedule(
        self,
        cron: str,
        flow: FlowSource,
        inputs: Iterable[Any] = (),
        *,
        time_zone: str = "UTC",
        name: str | None = None,
        overlap: Overlap | None = None,
        catch_up_s: float | None = None,
        paused: bool = False,
        options: TemplateOptions | None = None,
        request_id: str | None = None,
    ) -> Schedule:
        """Have a run submitted again and again.

        Args:
            cron: When: `minute hour day month weekday`, as for cron.
            flow: A flow id, the path of a YAML or JSON file, a flow as data, or a builder.
            inputs: One per item.
            time_zone: Whose clock is meant, such as `Europe/Berlin`.
            name: For people.
            overlap: What happens when it is time and the run before has not ended: `"skip"` (default), `"queue"` or
                `"cancelPrevious"`.
            catch_up_s: Times that were missed no longer ago are made up for; the runtime's default is an hour.
            paused: It does not fire before it is unpaused.
            options: See `TemplateOptions`.
            request_id: What is asked twice under it is done once; by default a new one.

        Raises:
            RpcError: `INVALID_PARAMS` for cron and time zone; else what the runtime refuses of the run.
        """
        template = await self._make_template({"flow": flow, "inputs": inputs, **(options or {})})
        params = CreateScheduleParams(
            cron=cron,
            time_zone=time_zone,
            run=template,
            name=name,
            overlap=overlap,
            catch_up_ms=to_ms(catch_up_s),
            paused=paused or None,
            request_id=request_id or uuid.uuid4().hex,
        )
        schedule: Schedule = await self._caller.call(methods.CREATE_SCHEDULE, params)
        return schedule

    def list_schedules(self) -> Paged[Schedule]:
        """Schedules, newest first, over all pages."""
        return self._list(methods.LIST_SCHEDULES, ListSchedulesParams(), "schedules")

    async def pause_schedule(self, schedule_id: str) -> Schedule:
        """Have a schedule fire no more; its run goes on."""
        schedule: Schedule = await self._caller.call(methods.PAUSE_SCHEDULE, ScheduleParams(schedule_id))
        return schedule

    async def unpause_schedule(self, schedule_id: str) -> Schedule:
        """Have it fire again, from now on."""
        schedule: Schedule = await self._caller.call(methods.UNPAUSE_SCHEDULE, ScheduleParams(schedule_id))
        return schedule

    async def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule; its runs stay."""
        await self._caller.call(methods.DELETE_SCHEDULE, ScheduleParams(schedule_id))

    # --- webhooks ---

    async def register_webhook(
        self,
        url: str,
        events: Sequence[str] = ("run.completed",),
        *,
        secret: str | None = None,
        flow_id: str | None = None,
        flow_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        include_sub_runs: bool = False,
        request_id: str | None = None,
    ) -> RegisteredWebhook:
        """Have events of runs sent to a URL, signed after Standard Webhooks.

        Args:
            url: `https://…`
            events: Types of events, as `Run.events` gives them.
            secret: `whsec_…`; without one the runtime makes it, and tells it here and never again.
            flow_id: Only runs of this flow; the others narrow in the same way.
            include_sub_runs: Also runs that other runs submitted.
            request_id: What is asked twice under it is done once; by default a new one.

        Raises:
            RpcError: `INVALID_PARAMS` for a URL that is not sent to, and for an event that there is not.
        """
        params = RegisterWebhookParams(
            url=url,
            events=list(events),
            secret=secret,
            flow_id=flow_id,
            flow_name=flow_name,
            labels=None if labels is None else dict(labels),
            include_sub_runs=include_sub_runs or None,
            request_id=request_id or uuid.uuid4().hex,
        )
        webhook: RegisteredWebhook = await self._caller.call(methods.REGISTER_WEBHOOK, params)
        return webhook

    def list_webhooks(self) -> Paged[Webhook]:
        """Webhooks, newest first, over all pages."""
        return self._list(methods.LIST_WEBHOOKS, ListWebhooksParams(), "webhooks")

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook and its deliveries."""
        await self._caller.call(methods.DELETE_WEBHOOK, WebhookParams(webhook_id))

    def list_deliveries(
        self,
        *,
        webhook_id: str | None = None,
        run_id: str | None = None,
        status: DeliveryState | str | None = None,
    ) -> Paged[DeliveryInfo]:
        """What became of deliveries, newest first, over all pages.

        Args:
            webhook_id: Only those of this webhook; for the webhook of one run, the run's id.
            run_id: Only those of events of this run.
            status: `pending`, `delivered` or `dead`.
        """
        state = None if status is None else DeliveryState(status)
        params = ListDeliveriesParams(webhook_id=webhook_id, run_id=run_id, status=state)
        return self._list(methods.LIST_DELIVERIES, params, "deliveries")

    async def redeliver(self, delivery_id: str | None = None, *, webhook_id: str | None = None) -> int:
        """Send one delivery again, or all of a webhook that were given up.

        Returns:
            How many are sent.
        """
        params = RedeliverParams(delivery_id=delivery_id, webhook_id=webhook_id)
        count: int = (await self._caller.call(methods.REDELIVER, params)).redelivered
        return count

    # --- what they share ---

    async def _make_template(self, run: dict[str, Any]) -> RunTemplate:
        flow_id = await self._store_flow(None, run.pop("flow"))
        inputs = [Raw(encode(value)) for value in run.pop("inputs", ())]
        params = make_submission(flow_id, inputs, None, run)  # type: ignore[arg-type]
        return RunTemplate(**{name: getattr(params, name) for name in RunTemplate.__struct_fields__})

    def _list(self, method: methods.Method, params: Any, field: str) -> Paged[Any]:
        return Paged(_make_fetch(self._caller.call, method, params, field))


def _make_fetch(
    call: Callable[[methods.Method, Any], Awaitable[Any]], method: methods.Method, params: Any, field: str
) -> Callable[[], Awaitable[Sequence[Any] | None]]:
    """Fetches the pages of a list one by one; an empty one that is not the last is passed over."""
    is_last = False

    async def fetch() -> Sequence[Any] | None:
        nonlocal is_last
        while not is_last:
            page = await call(method, params)
            params.cursor = page.next_cursor
            is_last = page.next_cursor is None
            found: Sequence[Any] = getattr(page, field)
            if found:
                return found
        return None

    return fetch
