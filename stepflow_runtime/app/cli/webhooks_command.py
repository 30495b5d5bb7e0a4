"""`stepflow webhooks …`: who is told of events of runs, by a runtime that serves."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from protocol.automation import (
    DeliveryInfo,
    DeliveryState,
    ListDeliveriesParams,
    ListDeliveriesResult,
    ListWebhooksParams,
    ListWebhooksResult,
    RedeliverParams,
    RedeliverResult,
    RegisterWebhookParams,
    Webhook,
    WebhookParams,
)
from protocol.methods import DELETE_WEBHOOK, LIST_DELIVERIES, LIST_WEBHOOKS, REDELIVER, REGISTER_WEBHOOK
from protocol.runs import RegisteredWebhook
from stepflow_runtime.app.cli.arguments import read_pairs
from stepflow_runtime.app.cli.boundary import CliError, run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, request_option, url_option
from stepflow_runtime.app.cli.output import print_facts, print_rows, stderr
from stepflow_runtime.connect.secret_files import read_secret_file

WEBHOOK_COLUMNS = ("WEBHOOK", "URL", "EVENTS", "CREATED")
DELIVERY_COLUMNS = ("DELIVERY", "EVENT", "RUN", "STATUS", "TRIES", "ERROR")


@click.group("webhooks")
def command() -> None:
    """Have events of runs sent to a URL, signed after Standard Webhooks."""


@command.command("register")
@click.argument("address", metavar="URL")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="Such as run.completed, the default.")
@click.option(
    "--secret-file", type=click.Path(path_type=Path), metavar="FILE", help="Holds a whsec_…; else one is made."
)
@click.option("--flow-name", metavar="NAME", help="Only runs of flows with this name.")
@click.option("--flow-id", metavar="ID", help="Only runs of this flow.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only runs with this label.")
@click.option("--sub-runs", is_flag=True, help="Also runs that other runs submitted.")
@request_option
@url_option
@output_option()
@common_options()
def register_command(
    address: str,
    events: tuple[str, ...],
    secret_file: Path | None,
    flow_name: str | None,
    flow_id: str | None,
    labels: tuple[str, ...],
    sub_runs: bool,
    request_id: str,
    url: str,
    output: Format,
) -> None:
    """Have events sent to URL. A secret that is made is printed now, and never again."""
    params = RegisterWebhookParams(
        url=address,
        events=list(events) or ["run.completed"],
        secret=None if secret_file is None else _read_secret(secret_file),
        flow_name=flow_name,
        flow_id=flow_id,
        labels=dict(read_pairs(labels, "--label")) or None,
        include_sub_runs=sub_runs or None,
        request_id=request_id,
    )

    async def register() -> RegisteredWebhook:
        async with open_link(url) as link:
            webhook: RegisteredWebhook = await link.call(REGISTER_WEBHOOK, params)
            return webhook

    webhook: RegisteredWebhook = run_async(register)
    print_facts(output, webhook, [("webhook", webhook.webhook_id), ("secret", webhook.secret)])


def _read_secret(path: Path) -> str:
    try:
        return read_secret_file(path, "secret file").strip()
    except ValueError as error:
        raise CliError(f"--secret-file: {error}") from None


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many, newest first.")
@url_option
@output_option()
@common_options()
def list_command(limit: int, url: str, output: Format) -> None:
    """List webhooks, the newest first."""

    async def list_webhooks() -> list[Webhook]:
        async with open_link(url) as link:
            page: ListWebhooksResult = await link.call(LIST_WEBHOOKS, ListWebhooksParams(limit=limit))
            return page.webhooks

    print_rows(output, run_async(list_webhooks), WEBHOOK_COLUMNS, _make_cells, "There are no webhooks.")


@command.command("delete")
@click.argument("webhook_id", metavar="WEBHOOK")
@url_option
@common_options()
def delete_command(webhook_id: str, url: str) -> None:
    """Delete a webhook and its deliveries."""

    async def delete() -> None:
        async with open_link(url) as link:
            await link.call(DELETE_WEBHOOK, WebhookParams(webhook_id))

    run_async(delete)


@command.command("deliveries")
@click.option("--webhook", "webhook_id", metavar="WEBHOOK", help="Only those of this webhook.")
@click.option("--run", "run_id", metavar="RUN", help="Only those of events of this run.")
@click.option("--status", type=click.Choice([state.value for state in DeliveryState]), help="Only those.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@url_option
@output_option()
@common_options()
def deliveries_command(
    webhook_id: str | None, run_id: str | None, status: str | None, limit: int, url: str, output: Format
) -> None:
    """Show what became of deliveries, the newest first."""
    state = DeliveryState(status) if status else None
    params = ListDeliveriesParams(webhook_id=webhook_id, run_id=run_id, status=state, limit=limit)

    async def list_deliveries() -> list[DeliveryInfo]:
        async with open_link(url) as link:
            page: ListDeliveriesResult = await link.call(LIST_DELIVERIES, params)
            return page.deliveries

    deliveries = run_async(list_deliveries)
    print_rows(output, deliveries, DELIVERY_COLUMNS, _make_delivery_cells, "There are no such deliveries.")


@command.command("redeliver")
@click.argument("delivery_id", metavar="DELIVERY", required=False)
@click.option("--webhook", "webhook_id", metavar="WEBHOOK", help="All of this webhook that were given up.")
@url_option
@common_options()
def redeliver_command(delivery_id: str | None, webhook_id: str | None, url: str) -> None:
    """Send DELIVERY again, or all of a webhook that were given up."""

    async def redeliver() -> int:
        async with open_link(url) as link:
            result: RedeliverResult = await link.call(REDELIVER, RedeliverParams(delivery_id, webhook_id))
            return result.redelivered

    stderr().print(f"{run_async(redeliver)} sent again.")


def _make_cells(webhook: Webhook) -> tuple[str, ...]:
    return webhook.webhook_id, escape(webhook.url), ", ".join(webhook.events), webhook.created_at


def _make_delivery_cells(delivery: DeliveryInfo) -> tuple[str, ...]:
    place = delivery.delivery_id, delivery.type, delivery.run_id
    return *place, delivery.status.value, str(delivery.attempts), escape(delivery.last_error or "")
