from __future__ import annotations

import json

import msgspec
import pytest

from stepflow_runtime.model.events import RunCreated, decode_events, encode_events
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.secret import SecretMissing, SecretReference, fill_in, make_token, quote
from stepflow_runtime.model.spec import RunSpec

KEY = SecretReference("key")


def test_values_take_the_place_of_their_tokens_and_nothing_else_changes() -> None:
    token = make_token("key", "f00")
    value = b'{"a": 1.50, "b": [%b, "x %b"]}' % (quote(token), token.encode())
    assert fill_in(value, {token: KEY}, lambda reference: b'"v"') == value.replace(quote(token), b'"v"')


def test_a_token_that_means_nothing_in_this_run_stays_as_it_is() -> None:
    value = quote(make_token("key", "other"))
    assert fill_in(value, {make_token("key", "mine"): KEY}, lambda reference: b'"v"') == value


def test_only_secrets_that_are_needed_are_looked_up() -> None:
    asked: list[str] = []

    def find(reference: SecretReference) -> bytes:
        asked.append(reference.name)
        return b"1"

    first, second = make_token("a", "1"), make_token("b", "2")
    fill_in(quote(first), {first: SecretReference("a"), second: SecretReference("b")}, find)
    assert asked == ["a"]


def test_a_secret_that_has_no_value_is_named() -> None:
    token = make_token("key", "1")
    with pytest.raises(SecretMissing, match="'key' has no value"):
        fill_in(quote(token), {token: KEY}, lambda reference: None)


@pytest.mark.parametrize("name", ["key", 'k"y', "naïve\n", "", "\\"])
def test_a_token_is_written_in_one_way_whatever_the_name(name: str) -> None:
    token = make_token(name, "1")
    assert json.dumps(token).encode() == quote(token)


def test_what_tokens_stand_for_outlives_the_runtime_and_older_journals_have_none() -> None:
    token = make_token("key", "1")
    spec = RunSpec(run_id=RunId("r"), root_run_id=RunId("r"), flow_id=BlobId("f"), created_at_ms=1)
    secret = msgspec.structs.replace(spec, secrets={token: SecretReference("key", "ENV", False)})
    for one in (spec, secret):
        (event,) = decode_events(encode_events([RunCreated(one, 1, True)]))
        assert event == RunCreated(one, 1, True)
    assert b"secrets" not in encode_events([RunCreated(spec, 1, True)])
