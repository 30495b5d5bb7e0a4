"""Sales of a company: each level submits a run for the level below it, and adds up what comes back."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from component_sdk import ComponentServer, RunStatus, StepflowContext

server = ComponentServer()


class Store(Struct):
    name: str
    receipts: list[int]


class Region(Struct):
    name: str
    stores: list[Store]


class Company(Struct):
    name: str
    regions: list[Region]


class Sum(Struct):
    """Sales in whole euros; `missing` are the stores that could not be added up."""

    name: str
    total: int
    missing: list[str] = []


@server.component
async def sum_company(company: Company, ctx: StepflowContext) -> Sum:
    """One sub-run for the company, one item of it for each region."""
    run = await ctx.submit_run(flow="region.yaml", inputs=company.regions, wait=True)
    return _add_up(company.name, [region.name for region in company.regions], run)


@server.component
async def sum_region(region: Region, ctx: StepflowContext) -> Sum:
    """One sub-run for a region, one item of it for each store, two at a time."""
    run = await ctx.submit_run(flow="store.yaml", inputs=region.stores, wait=True, max_concurrency=2)
    return _add_up(region.name, [store.name for store in region.stores], run)


@server.component
async def sum_store(store: Store) -> Sum:
    """Adds up a store's receipts."""
    if any(receipt < 0 for receipt in store.receipts):
        raise ValueError("a receipt is negative")
    return Sum(store.name, sum(store.receipts))


def _add_up(name: str, parts: list[str], run: RunStatus) -> Sum:
    """Adds up the results of a sub-run; what failed there is named, and does not fail the whole."""
    total = 0
    missing: list[str] = []
    for entry in run.results or []:
        if entry.result.error is not None:
            missing.append(parts[entry.item_index])
        else:
            value: Any = entry.result.value
            total += value["total"]
            missing += value["missing"]
    return Sum(name, total, missing)


if __name__ == "__main__":
    server.run()
