"""What every store does with blobs."""

from __future__ import annotations

import pytest
import trio

from protocol.types import BlobType
from stepflow_runtime.model.canonical import blob_id
from stepflow_runtime.model.ids import BlobId
from tests.contracts.store_kit import AnyStore


@pytest.mark.parametrize(
    ("data", "blob_type"), [(b'{"a":1}', BlobType.DATA), (b"\x00\xff" * 100_000, BlobType.BINARY), (b"", BlobType.FLOW)]
)
async def test_a_blob_is_read_as_it_was_put(store: AnyStore, data: bytes, blob_type: BlobType) -> None:
    name = BlobId(blob_id(data))
    await store.put(name, data, blob_type)
    found = await store.get(name)
    assert found == (data, blob_type)
    assert found is not None
    assert isinstance(found[1], BlobType)


async def test_the_same_content_is_stored_once_and_keeps_its_type(store: AnyStore) -> None:
    name = BlobId(blob_id(b"{}"))
    await store.put(name, b"{}", BlobType.FLOW)
    await store.put(name, b"{}", BlobType.DATA)
    assert await store.get(name) == (b"{}", BlobType.FLOW)


async def test_an_unknown_blob_is_not_found(store: AnyStore) -> None:
    assert await store.get(BlobId(blob_id(b"never put"))) is None
    assert await store.get(BlobId("nonsense")) is None


@pytest.mark.parametrize("name", ["", "blake3:", "blake3:" + "A" * 64, "sha256:" + "0" * 64, "blake3:" + "0" * 65])
async def test_an_id_of_another_form_is_refused(store: AnyStore, name: str) -> None:
    with pytest.raises(ValueError, match="no blob id"):
        await store.put(BlobId(name), b"{}", BlobType.DATA)


async def test_many_blobs_at_once(store: AnyStore) -> None:
    contents = [b'"%d"' % number for number in range(100)]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for data in contents:
                nursery.start_soon(store.put, BlobId(blob_id(data)), data, BlobType.DATA)
    for data in contents:
        assert await store.get(BlobId(blob_id(data))) == (data, BlobType.DATA)
