"""The kinds of work that other systems are given too. Standard library only: the peers' environments read it."""

from __future__ import annotations

from enum import StrEnum


class Work(StrEnum):
    """What is done, for comparison."""

    FAN_OUT = "fan-out"
    """Many items of one step; items a second."""
    ONE_RUN = "one-run"
    """One item, submitted and waited for, again and again; median milliseconds."""
    CHAIN = "chain"
    """Items of ten steps in a row; steps a second."""
    NESTED = "nested"
    """Parents that each submit ten children and wait for them; parents a second."""
