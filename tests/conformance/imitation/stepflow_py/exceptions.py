"""See the package."""

from __future__ import annotations

from typing import Any


class StepflowFailed(Exception):
    """An evaluated flow failed."""

    def __init__(self, error_code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.data = data
