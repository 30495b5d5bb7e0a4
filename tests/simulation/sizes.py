"""Small sizes for small worlds: a run of forty items has many segments, chunks, pages and snapshots then."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest.mock import patch

_SMALL: Final = {
    "SEGMENT_ITEMS": 4,
    "MAX_BUFFERED": 8,
    "SNAPSHOT_EVERY": 3,
    "ROWS_PER_PAGE": 2,
    "ROWS_PER_READ": 2,
    "MIN_LEAD": 2,
}


@contextmanager
def small_sizes() -> Generator[None]:
    """Makes the runtime's sizes small, in every module that knows them."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("stepflow_runtime."):
                for constant, value in _SMALL.items():
                    if constant in vars(module):
                        stack.enter_context(patch.object(module, constant, value))
        yield
