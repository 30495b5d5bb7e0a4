"""Checks of blobs that hold for every store: an id has the right form, and content is what its id says."""

from __future__ import annotations

from stepflow_runtime.model.canonical import blob_id as identify
from stepflow_runtime.model.canonical import is_blob_id
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.ports import StoreCorrupt


def check_blob_id(blob_id: BlobId) -> None:
    """Refuses what is no id of a blob.

    Raises:
        ValueError: It has not the form of one.
    """
    if not is_blob_id(blob_id):
        raise ValueError(f"{blob_id!r} is no blob id: that is 'blake3:' and 64 lower-case hex digits.")


def verify_content(blob_id: BlobId, data: bytes) -> None:
    """Compares what was read with its id.

    Raises:
        StoreCorrupt: They do not belong together.
    """
    if identify(data) != blob_id:
        raise StoreCorrupt(f"The content of {blob_id} was damaged in the store; put the same content again to heal it.")
