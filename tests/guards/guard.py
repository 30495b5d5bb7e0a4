"""What a guard is: where it stands, what removes it, and which test fails then."""

from __future__ import annotations

from msgspec import Struct


class Guard(Struct, frozen=True):
    """One guard of the product.

    Args:
        fault: Its number in FAULTS.
        name: What the guard does.
        file: Where it is, from the root of the project.
        removed: A text that is there exactly once.
        instead: What stands there when the guard is gone.
        test: The node id of a test that fails then.
    """

    fault: int
    name: str
    file: str
    removed: str
    instead: str
    test: str

    def remove_from(self, source: str) -> str:
        """The file without the guard."""
        assert source.count(self.removed) == 1, f"{self.file} does not have this once any more: {self.removed!r}"
        return source.replace(self.removed, self.instead)
