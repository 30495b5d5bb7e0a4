"""The guards against the 43 faults (FAULTS): data only, which `trial` tries.

A guard is named by what it does; its test is one that `tests/requirements.py` lists under the same fault. Where two
layers guard against a fault each has a line, with a test that sees that layer alone.
"""

from __future__ import annotations

from typing import Final

from tests.guards.crash import CRASH
from tests.guards.disk import DISK
from tests.guards.scale import SCALE
from tests.guards.security import SECURITY
from tests.guards.wire import WIRE

FAULTS: Final = range(1, 44)

GUARDS: Final = (*CRASH, *WIRE, *SCALE, *DISK, *SECURITY)
