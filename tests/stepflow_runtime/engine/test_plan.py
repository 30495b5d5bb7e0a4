"""Which steps run, with what input, and how an item ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from stepflow_runtime.engine.plan import Advance, Plan, Progress, compile_plan
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.outcome import Failure, Outcome

BOOM = Failure(ItemErrorCode.COMPONENT_FAILED, "boom")
USE_SEVEN = {"action": "useDefault", "defaultValue": 7}


def step(step_id: str, input: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "component": f"/c/{step_id}", "input": input, **fields}


def ref(step_id: str, path: str | None = None) -> dict[str, Any]:
    return {"$step": step_id} if path is None else {"$step": step_id, "path": path}


def plan_of(*steps: dict[str, Any], output: Any) -> Plan:
    return compile_plan(parse_flow({"steps": list(steps), "output": output}))


def begin(plan: Plan, input: bytes = b"{}", variables: Mapping[str, bytes] | None = None) -> tuple[Progress, Advance]:
    progress = Progress(plan, input, variables or {})
    return progress, progress.start()


def ready_ids(advance: Advance) -> list[str]:
    return [step_id for step_id, _ in advance.ready]


def chain(length: int) -> Plan:
    steps = [step("s0", {"$input": "$"}), *(step(f"s{n}", ref(f"s{n - 1}")) for n in range(1, length))]
    return plan_of(*steps, output=ref(f"s{length - 1}"))


def test_a_flow_without_steps_is_over_at_once() -> None:
    _, advance = begin(plan_of(output={"$input": "a"}), b'{"a": 1.10}')
    assert advance == Advance(result=b"1.10")


def test_a_single_step_is_given_the_very_input_and_its_output_is_the_result() -> None:
    item = b'{"a": 1.10}'
    progress, advance = begin(chain(1), item)
    assert advance.ready[0][1] is item
    output = b"[1e5]"
    assert progress.ended("s0", output).result is output


def test_a_chain_runs_step_after_step() -> None:
    progress, advance = begin(chain(4), b"0")
    for n in range(4):
        assert ready_ids(advance) == [f"s{n}"]
        assert advance.ready[0][1] == str(n).encode()
        advance = progress.ended(f"s{n}", str(n + 1).encode())
    assert advance.result == b"4"


def test_the_arms_of_a_diamond_start_together_and_are_joined_once() -> None:
    plan = plan_of(
        step("top", {"$input": "$"}),
        step("left", ref("top")),
        step("right", ref("top")),
        step("join", {"l": ref("left"), "r": ref("right")}),
        output=ref("join"),
    )
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["top"]
    assert ready_ids(progress.ended("top", b"1")) == ["left", "right"]
    assert progress.ended("right", b"2") == Advance()
    assert progress.ended("left", b"3").ready == [("join", b'{"l":3,"r":2}')]


def test_a_step_that_nothing_needs_does_not_run() -> None:
    _, advance = begin(plan_of(step("a"), step("unused"), output=ref("a")))
    assert ready_ids(advance) == ["a"]


@pytest.mark.parametrize(
    ("flag", "taken"), [(b"true", "a"), (b"false", "b"), (b"null", "b"), (b"0", "a"), (b'""', "a")]
)
def test_only_the_branch_that_is_taken_runs(flag: bytes, taken: str) -> None:
    plan = plan_of(step("a"), step("b"), output={"$if": {"$input": "$"}, "then": ref("a"), "else": ref("b")})
    progress, advance = begin(plan, flag)
    assert ready_ids(advance) == [taken]
    assert progress.ended(taken, b"1").result == b"1"


def test_a_failed_condition_is_false() -> None:
    plan = plan_of(step("a"), output={"$if": ref("a"), "then": 1, "else": 2})
    progress, _ = begin(plan)
    assert progress.ended("a", BOOM).result == b"2"


def test_a_branch_starts_while_something_else_still_runs() -> None:
    plan = plan_of(step("flag"), step("slow"), step("a"), output=[{"$if": ref("flag"), "then": ref("a")}, ref("slow")])
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["flag", "slow"]
    assert ready_ids(progress.ended("flag", b"true")) == ["a"]
    assert progress.ended("a", b"1") == Advance()
    assert progress.ended("slow", b"2").result == b"[1,2]"


NEXT_OPTION: dict[str, Any] = {"$coalesce": [ref("first"), ref("a")]}


@pytest.mark.parametrize(
    "expression",
    [NEXT_OPTION, {"$coalesce": [NEXT_OPTION]}, [ref("first"), {"$variable": "v", "default": NEXT_OPTION}]],
)
def test_the_next_option_starts_while_something_else_still_runs(expression: Any) -> None:
    plan = plan_of(step("first"), step("slow"), step("a"), output=[expression, ref("slow")])
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["first", "slow"]
    assert ready_ids(progress.ended("first", b"null")) == ["a"]


def test_a_value_that_came_before_all_was_asked_for_is_given_once() -> None:
    plan = plan_of(
        step("a"), step("b"), step("c", {"$if": [ref("a"), ref("b")], "then": 1, "else": 2}), output=ref("c")
    )
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["a", "b"]
    assert progress.ended("a", BOOM).ready == [("c", b"2")]
    assert progress.ended("b", b"1") == Advance()


def test_coalesce_runs_steps_in_order_until_one_is_not_null() -> None:
    plan = plan_of(step("a"), step("b"), step("c"), output={"$coalesce": [ref("a"), ref("b"), ref("c")]})
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["a"]
    assert ready_ids(progress.ended("a", b"null")) == ["b"]
    assert progress.ended("b", b"1").result == b"1"


def test_a_default_of_a_variable_runs_only_without_the_variable() -> None:
    plan = plan_of(step("a"), output={"$variable": "v", "default": ref("a")})
    assert begin(plan, variables={"v": b"1"})[1].result == b"1"
    assert ready_ids(begin(plan)[1]) == ["a"]


def test_a_failed_step_fails_the_item_with_the_same_error() -> None:
    progress, _ = begin(chain(3))
    advance = progress.ended("s0", BOOM)
    assert advance.failed == [("s1", BOOM), ("s2", BOOM)]
    assert advance.result is BOOM


def test_a_failure_goes_down_a_long_chain() -> None:
    progress, _ = begin(chain(5000))
    advance = progress.ended("s0", BOOM)
    assert len(advance.failed) == 4999
    assert advance.result is BOOM


def test_a_long_chain_in_a_branch_is_demanded() -> None:
    steps = [step("s0"), *(step(f"s{n}", ref(f"s{n - 1}")) for n in range(1, 5000))]
    plan = plan_of(*steps, output={"$if": {"$input": "$"}, "then": ref("s4999")})
    assert ready_ids(begin(plan, b"1")[1]) == ["s0"]


def test_a_missing_path_fails_the_step_before_what_else_it_needs_runs() -> None:
    plan = plan_of(step("a"), step("b", [ref("a"), {"$input": "missing"}]), output=ref("b"))
    _, advance = begin(plan)
    assert advance.ready == []
    assert [step_id for step_id, _ in advance.failed] == ["b"]
    assert isinstance(advance.result, Failure)
    assert advance.result.code == "EXPRESSION_FAILURE"
    assert "$.missing" in advance.result.message


def test_a_step_without_an_input_has_its_default() -> None:
    plan = plan_of(
        step("a"), step("b", [ref("a"), {"$input": "missing"}], onError=USE_SEVEN), step("c", ref("b")), output=ref("c")
    )
    progress, advance = begin(plan)
    assert [step_id for step_id, _ in advance.failed] == ["b"]
    assert advance.ready == [("c", b"7")]
    assert progress.outcomes == {"b": b"7"}
    assert plan.steps["b"].default == b"7"
    assert plan.steps["a"].default is None


def test_the_item_fails_as_soon_as_its_output_has() -> None:
    progress, advance = begin(plan_of(step("a"), step("b"), output=[ref("a"), ref("b")]))
    assert ready_ids(advance) == ["a", "b"]
    assert progress.ended("b", BOOM).result is BOOM


def test_must_execute_steps_end_before_the_item_does() -> None:
    plan = plan_of(step("a"), step("log", ref("a"), mustExecute=True), output=ref("a"))
    progress, advance = begin(plan)
    assert ready_ids(advance) == ["a"]
    assert progress.ended("a", b"1") == Advance(ready=[("log", b"1")])
    assert progress.ended("log", b"null") == Advance(result=b"1")


def test_a_failed_must_execute_step_fails_the_item() -> None:
    progress, advance = begin(plan_of(step("log", mustExecute=True), output=1))
    assert advance == Advance(ready=[("log", b"null")])
    assert progress.ended("log", BOOM).result is BOOM


def test_a_must_execute_step_with_a_default_does_not() -> None:
    plan = plan_of(step("log", {"$input": "missing"}, mustExecute=True, onError=USE_SEVEN), output=1)
    assert begin(plan)[1].result == b"1"


def test_a_restored_item_starts_with_what_has_not_ended() -> None:
    progress = Progress.restore(chain(4), b"0", {}, {"s0": b"1", "s1": b"2"})
    assert progress.start() == Advance(ready=[("s2", b"2")])
    assert ready_ids(progress.ended("s2", b"3")) == ["s3"]
    assert progress.ended("s3", b"4").result == b"4"


def test_a_restored_join_waits_for_the_rest_only() -> None:
    plan = plan_of(step("a"), step("b"), step("c"), step("join", [ref("a"), ref("b"), ref("c")]), output=ref("join"))
    progress = Progress.restore(plan, b"0", {}, {"b": b"2"})
    assert ready_ids(progress.start()) == ["a", "c"]
    assert progress.ended("c", b"3") == Advance()
    assert progress.ended("a", b"1").ready == [("join", b"[1,2,3]")]


def test_a_restored_item_may_be_over() -> None:
    assert Progress.restore(chain(1), b"0", {}, {"s0": b"1"}).start() == Advance(result=b"1")
    plan = plan_of(step("log", mustExecute=True), output=1)
    assert Progress.restore(plan, b"0", {}, {"log": b"1"}).start() == Advance(result=b"1")
    assert Progress.restore(plan, b"0", {}, {"log": BOOM}).start() == Advance(result=BOOM)


def find_certain(plan: Plan) -> list[str] | None:
    return None if plan.certain is None else [step.id for step in plan.certain]


def test_a_plan_tells_what_is_certain_of_every_item() -> None:
    assert find_certain(chain(1)) == ["s0"]
    assert chain(1).is_single_step
    assert chain(1).output_step == "s0"
    assert not chain(2).is_single_step
    assert plan_of(step("a"), output=ref("a", "$.x")).output_step is None
    branching = plan_of(step("a"), step("b"), output={"$if": {"$input": "$"}, "then": ref("a"), "else": ref("b")})
    assert find_certain(branching) is None
    fallible = plan_of(step("a", {"$input": "x"}), step("b", [ref("a")]), output=ref("b"))
    assert find_certain(fallible) is None, "its input may have no x"
    doubtful = plan_of(step("a"), step("b", [ref("a"), {"$input": "x"}]), output=ref("b"))
    assert find_certain(doubtful) is None, "if the input has no x, nobody needs step a"
    assert find_certain(plan_of(step("log", mustExecute=True), output=1)) is None, "its output is there at once"
    assert not plan_of(step("a"), step("b", mustExecute=True), output=ref("a")).is_single_step
    assert chain(3).steps["s0"].dependents == ("s1",)


@pytest.mark.parametrize(
    ("output", "is_plain"),
    [
        (ref("b"), True),
        ({"both": [ref("a", "$.x"), ref("b")]}, True),
        ({"$if": ref("a"), "then": ref("b"), "else": 1}, False),
        ({"$coalesce": [ref("a"), ref("b")]}, False),
        ({"$if": {"$input": "$"}, "then": 1, "else": 2}, True),
    ],
)
def test_a_plan_is_plain_if_no_data_decides_which_steps_are_needed(output: Any, is_plain: bool) -> None:
    steps = step("a", onError=USE_SEVEN), step("b", ref("a"))
    assert plan_of(*steps, output=output).is_plain is is_plain
    assert plan_of(*steps, step("c", output), output=ref("c")).is_plain is is_plain
    assert plan_of(*steps, step("c", output, mustExecute=True), output=ref("a")).is_plain is is_plain


def test_a_flow_that_can_never_run_has_no_plan() -> None:
    with pytest.raises(RpcError) as caught:
        plan_of(step("a", ref("b")), step("b", ref("a")), output=ref("a"))
    assert caught.value.code == ErrorCode.VALIDATION_FAILED
    assert caught.value.data["issues"][0]["code"] == "cycle"


IDS = ["s0", "s1", "s2", "s3", "s4"]


def expressions(available: list[str]) -> st.SearchStrategy[Any]:
    leaves: list[st.SearchStrategy[Any]] = [
        st.sampled_from([None, 1, "x", {"$input": "$"}, {"$input": "a"}, {"$input": "none"}]),
        st.sampled_from([{"$variable": "v"}, {"$variable": "none", "default": 1}]),
    ]
    if available:
        leaves.append(st.sampled_from(available).flatmap(lambda i: st.sampled_from([ref(i), ref(i, "a")])))
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from("pq"), inner, max_size=2),
            st.fixed_dictionaries({"$if": inner, "then": inner}, optional={"else": inner}),
            st.lists(inner, max_size=3).map(lambda options: {"$coalesce": options}),
        ),
        max_leaves=6,
    )


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    steps = [
        step(
            step_id,
            draw(expressions(IDS[:n])),
            mustExecute=draw(st.booleans()),
            onError=draw(st.sampled_from([None, USE_SEVEN])),
        )
        for n, step_id in enumerate(IDS)
    ]
    return {"steps": steps, "output": draw(expressions(IDS))}


@settings(max_examples=150, deadline=None)
@given(flows(), st.randoms(use_true_random=False))
def test_an_item_gets_as_far_along_its_plan_as_without_it_and_when_it_is_restored(flow: Any, random: Any) -> None:
    plan = compile_plan(parse_flow(flow))
    input, variables = b'{"a":1.10}', {"v": b"null"}
    answers: dict[str, Outcome] = {
        step_id: random.choice([b"null", b"false", b'{"a":2}', BOOM]) for step_id in plan.steps
    }
    planned = Progress(plan, input, variables)
    free = Progress.restore(plan, input, variables, {})
    advance, other = planned.start(), free.start()
    executing: dict[str, bytes] = {}

    def end(step_id: str) -> Outcome:
        del executing[step_id]
        default, outcome = plan.steps[step_id].default, answers[step_id]
        return default if isinstance(outcome, Failure) and default is not None else outcome

    while True:
        if isinstance(other.result, Failure):  # what is planned to wait for several steps fails when all are there
            while advance.result is None:
                executing.update(advance.ready)
                step_id = random.choice(sorted(executing))
                advance = planned.ended(step_id, end(step_id))
            assert isinstance(advance.result, Failure)
            break
        assert sorted(advance.ready) == sorted(other.ready)
        assert advance.result == other.result
        if advance.result is not None:
            break
        assert planned.outcomes == free.outcomes
        assert not executing.keys() & dict(advance.ready).keys()
        executing.update(advance.ready)
        assert executing, "nothing runs and the item is not over"
        again = Progress.restore(plan, input, variables, planned.outcomes).start()
        assert dict(again.ready).items() <= executing.items()
        step_id = random.choice(sorted(executing))
        outcome = end(step_id)
        advance, other = planned.ended(step_id, outcome), free.ended(step_id, outcome)


def test_the_output_is_json() -> None:
    plan = plan_of(step("a"), output={"é\n": [ref("a"), {"$literal": {"$step": "a"}}], "b": {"c": {}, "d": ref("a")}})
    progress, _ = begin(plan)
    result = progress.ended("a", b'"x"').result
    assert isinstance(result, bytes)
    assert msgspec.json.decode(result) == {"é\n": ["x", {"$step": "a"}], "b": {"c": {}, "d": "x"}}
