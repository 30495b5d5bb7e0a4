"""The examples of RFC 7396 (appendix A) and RFC 6902 (appendix A)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stepflow_runtime.model.patch import PatchError, json_patch, merge_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_merges(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@pytest.mark.parametrize(
    ("target", "operation", "result"),
    [
        ({"a": 1}, {"op": "add", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": [2]}, {"a": [1, [2]]}),
        ({"a": 1}, {"op": "add", "path": "", "value": 2}, 2),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/b"}, {"a": 1}),
        ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": None}, {"a": None}),
        ([1, 2, 3], {"op": "replace", "path": "/2", "value": 4}, [1, 2, 4]),
        ({"a": {"b": 1}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"}, {"a": {}, "c": {"d": 1}}),
        ([1, 2, 3, 4], {"op": "move", "from": "/1", "path": "/3"}, [1, 3, 4, 2]),
        ({"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a/b": 1, "m~n": 2}, {"op": "test", "path": "/a~1b", "value": 1}, {"a/b": 1, "m~n": 2}),
        ({"~1": 10}, {"op": "test", "path": "/~01", "value": 10.0}, {"~1": 10}),
        ({"a": 1}, {"op": "add", "path": "/b", "value": 2, "xyz": 3}, {"a": 1, "b": 2}),
    ],
)
def test_an_operation_is_applied(target: Any, operation: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, [operation]) == result
    assert target == before


@pytest.mark.parametrize(
    "operation",
    [
        1,
        {"path": "/a"},
        {"op": "sed", "path": "/a"},
        {"op": "add", "path": "/a"},
        {"op": "add", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": "/l/-"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "move", "from": "/x", "path": "/y"},
        {"op": "move", "from": "/o", "path": "/o/p"},
        {"op": "copy", "path": "/y"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "test", "path": "/l", "value": [1]},
    ],
)
def test_an_operation_that_does_not_apply_is_refused_by_its_number(operation: Any) -> None:
    with pytest.raises(PatchError, match="Operation 1 "):
        json_patch({"a": 1, "l": [1, 2], "o": {}}, [{"op": "test", "path": "/a", "value": 1}, operation])


def test_operations_do_not_change_the_patch() -> None:
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/o", "value": {}},
        {"op": "add", "path": "/o/a", "value": 1},
    ]
    assert json_patch({}, operations) == {"o": {"a": 1}}
    assert operations[0]["value"] == {}


@pytest.mark.parametrize("times", [18, 40])
def test_copies_that_double_what_is_there_are_bounded(times: int) -> None:
    copies = [{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(times)]
    with pytest.raises(PatchError, match="hold more than 100000 values"):
        json_patch({"a": [1]}, copies)
    assert json_patch({"a": [1]}, copies[:3])["x2"]["x1"]["x0"] == {"a": [1]}
