"""The words of other systems: none is missing, and none is made up."""

from __future__ import annotations

from typing import Final

import pytest

from protocol.runs import ItemCounts, RunState, RunStatus
from protocol.vocabulary import DETAILED, VOCABULARIES, WORDS, Vocabulary, translate

AT = "2025-01-15T10:30:00.000Z"

THEIRS: Final[dict[Vocabulary, set[str]]] = {
    "workflow": {"pending", "running", "completed", "failed", "cancelled"},
    "mastra": {"success", "failed", "suspended", "canceled"},
    "anon": {
        "PENDING",
        "IN_PROGRESS",
        "AWAITING_USER_INPUT",
        "COMPLETED",
        "COMPLETED_WITH_NO_ACTION_TAKEN",
        "FAILED",
    },
}
"""What their documents name."""

UNNAMED: Final[dict[Vocabulary, set[str]]] = {"workflow": set(), "mastra": {"pending", "running"}, "anon": set()}
"""What they do not name, but have a run in."""

TERMINAL: Final = {RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED}


def test_each_vocabulary_has_a_word_for_each_status_and_for_no_other() -> None:
    assert set(WORDS) == set(DETAILED) == set(VOCABULARIES) == set(THEIRS)
    for words in WORDS.values():
        assert set(words) == set(RunState)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_each_word_is_theirs_and_each_of_theirs_is_said(vocabulary: Vocabulary) -> None:
    said = {*WORDS[vocabulary].values(), *DETAILED[vocabulary].values()}
    assert said == THEIRS[vocabulary] | UNNAMED[vocabulary]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_no_word_is_said_of_a_run_that_has_ended_and_of_one_that_has_not(vocabulary: Vocabulary) -> None:
    words = WORDS[vocabulary]
    assert not {words[state] for state in TERMINAL} & {words[state] for state in set(RunState) - TERMINAL}


def test_a_status_is_said_with_what_its_detail_adds() -> None:
    status = RunStatus(run_id="r", flow_id="f", status=RunState.SUCCESS, items=ItemCounts(1), created_at=AT)
    assert [status.as_(vocabulary) for vocabulary in VOCABULARIES] == ["completed", "success", "COMPLETED"]
    status.status_detail = "noActionTaken"
    assert status.as_("anon") == "COMPLETED_WITH_NO_ACTION_TAKEN"
    assert status.as_("workflow") == "completed"
    assert RunState.CANCELLED.as_("mastra") == "canceled"


def test_an_unknown_vocabulary_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="there are workflow, mastra, anon"):
        translate("temporal", "success")  # type: ignore[arg-type]
