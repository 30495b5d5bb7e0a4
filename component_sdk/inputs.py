"""The inputs of a run, cut into chunks that fit a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Raw

from component_sdk.codec import encode

MAX_CHUNK_BYTES: Final = 8 * 1024 * 1024
MAX_CHUNK_ITEMS: Final = 10_000


def chunk_inputs(inputs: Iterable[Any]) -> Iterator[tuple[list[Raw], bool]]:
    """Encode inputs lazily, in chunks bounded in bytes and in count.

    Args:
        inputs: Any iterable; it is read as the chunks are.

    Yields:
        Each chunk, and whether it is the last. No inputs give one empty, last chunk. A single input larger than the
        bound is a chunk of its own.
    """
    chunk: list[Raw] = []
    size_bytes = 0
    for value in inputs:
        encoded = encode(value)
        if chunk and (len(chunk) >= MAX_CHUNK_ITEMS or size_bytes + len(encoded) > MAX_CHUNK_BYTES):
            yield chunk, False
            chunk, size_bytes = [], 0
        chunk.append(Raw(encoded))
        size_bytes += len(encoded)
    yield chunk, True
