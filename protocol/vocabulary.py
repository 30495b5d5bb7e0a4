"""The words that other systems have for how a run is, as tables.

Pure data: it knows the words of this protocol (PROTOCOL §4) as texts, and nothing of runs. `types` is above, and offers
it as `RunState.as_` and `RunStatus.as_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Vocabulary = Literal["workflow", "mastra", "anon"]
"""Workflow DevKit, Mastra, and a workflow-run API that has states in capitals."""

VOCABULARIES: Final[tuple[Vocabulary, ...]] = get_args(Vocabulary)

WORDS: Final[Mapping[Vocabulary, Mapping[str, str]]] = {
    "workflow": {
        "pending": "pending",
        "running": "running",
        "suspended": "running",  # a run that waits for a hook is a running one there
        "success": "completed",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    "mastra": {
        "pending": "pending",
        "running": "running",
        "suspended": "suspended",
        "success": "success",
        "failed": "failed",
        "cancelled": "canceled",
    },
    "anon": {
        "pending": "PENDING",
        "running": "IN_PROGRESS",
        "suspended": "AWAITING_USER_INPUT",
        "success": "COMPLETED",
        "failed": "FAILED",
        "cancelled": "FAILED",  # it could not complete; who polls for an end must see one
    },
}
"""A word for each status."""

DETAILED: Final[Mapping[Vocabulary, Mapping[tuple[str, str], str]]] = {
    "workflow": {},
    "mastra": {},
    "anon": {("success", "noActionTaken"): "COMPLETED_WITH_NO_ACTION_TAKEN"},
}
"""Words for a status together with its detail; they go before."""


def translate(vocabulary: Vocabulary, status: str, detail: str | None = None) -> str:
    """How another system says it.

    Args:
        vocabulary: Whose words.
        status: Of this protocol.
        detail: Of this protocol too, if there is one.

    Raises:
        ValueError: There is no such vocabulary.
    """
    if vocabulary not in WORDS:
        raise ValueError(f"There is no vocabulary {vocabulary!r}; there are {', '.join(VOCABULARIES)}.")
    return DETAILED[vocabulary].get((status, detail or "")) or WORDS[vocabulary][status]
