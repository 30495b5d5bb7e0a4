"""Which shard a tree of runs belongs to, and the leases of a single owner."""

from __future__ import annotations

from zlib import crc32

from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import SHARDS, Lease


def find_shard(root_run_id: RunId) -> int:
    """The shard of a tree, by its root. Stored with every run, so it must never be computed otherwise."""
    return crc32(root_run_id.encode()) % SHARDS


def grant_all(owner: str, epoch: int) -> tuple[Lease, ...]:
    """The leases of an owner that has every shard, by shard."""
    return tuple(Lease(shard, owner, epoch) for shard in range(SHARDS))
