"""The answers of one received batch: collected, and given out as one array when the last is there.

Pure. `peer` is above.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.messages import RequestId


class Batch:
    """Answers under way to one array.

    Attributes:
        missing: How many are not there yet.
    """

    __slots__ = ("_answers", "missing")

    def __init__(self) -> None:
        self.missing = 0
        self._answers: list[tuple[RequestId, bytes]] = []

    def add(self, id: RequestId, answer: bytes) -> None:
        """One of the missing answers is there."""
        self._answers.append((id, answer))
        self.missing -= 1

    def assemble(self, max_bytes: int, refuse: Callable[[RequestId, int], bytes]) -> bytes | None:
        """The array, with the end of its line.

        Args:
            max_bytes: The longest line that the peer reads. The largest answers give way until the array fits.
            refuse: Makes, of an id and the length that was too much, the error that takes the place of an answer.

        Returns:
            `None` while answers are missing, and if there is none at all.
        """
        if self.missing or not self._answers:
            return None
        length = 2 + sum(len(answer) + 1 for _, answer in self._answers)
        by_size = sorted(range(len(self._answers)), key=lambda place: len(self._answers[place][1]), reverse=True)
        for place in by_size:
            if length <= max_bytes:
                break
            id, answer = self._answers[place]
            refusal = refuse(id, length)
            self._answers[place] = (id, refusal)
            length += len(refusal) - len(answer)
        return b"[" + b",".join([answer for _, answer in self._answers]) + b"]\n"
