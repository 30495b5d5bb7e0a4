"""For tests of components: execute one with no process and no wire, or all that a recorded run called.

    def test_double():
        assert run_component(double, {"item": 2}) == {"doubled": 4}

What the component asks of the runtime is answered by a `FakeRuntime`. `replay` makes the calls of a recorded run again.
"""

from component_sdk.testing.execution import RUN_ID, execute_batch, execute_component, run_batch, run_component
from component_sdk.testing.fake_runs import RunItem
from component_sdk.testing.fake_runtime import FakeRuntime
from component_sdk.testing.replay import Difference, ReplayDiffers, replay

__all__ = [
    "RUN_ID",
    "Difference",
    "FakeRuntime",
    "ReplayDiffers",
    "RunItem",
    "execute_batch",
    "execute_component",
    "replay",
    "run_batch",
    "run_component",
]
