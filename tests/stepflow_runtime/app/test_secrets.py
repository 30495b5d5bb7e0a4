from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from stepflow_runtime.app.config import SecretConfig
from stepflow_runtime.app.secrets import SCRUBBED, SHORTEST, ConfiguredSecrets
from stepflow_runtime.model.secret import SecretReference

KEY = SecretReference("api-key")


def test_a_value_is_found_in_the_configuration_then_where_the_flow_says_then_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from a file\n")
    file.chmod(0o600)
    environ = {"ONE": "configured", "TWO": "named", "STEPFLOW_VAR_API_KEY": "by name"}
    named = SecretReference("api-key", "TWO")
    assert ConfiguredSecrets({"api-key": SecretConfig(file=file)}, environ).find(named) == b'"from a file"'
    assert ConfiguredSecrets({"api-key": SecretConfig(env="ONE")}, environ).find(named) == b'"configured"'
    assert ConfiguredSecrets({}, environ).find(named) == b'"named"'
    assert ConfiguredSecrets({}, environ).find(KEY) == b'"by name"'
    assert ConfiguredSecrets({}, {"STEPFLOW_VAR_api_key": "as written"}).find(KEY) == b'"as written"'
    assert ConfiguredSecrets({}, {}).find(KEY) is None
    assert ConfiguredSecrets({"api-key": SecretConfig(env="GONE")}, environ).find(KEY) is None, (
        "the configuration rules"
    )


def test_a_file_that_others_can_read_gives_no_value(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("x")
    file.chmod(0o644)
    assert ConfiguredSecrets({"api-key": SecretConfig(file=file)}, {}).find(KEY) is None


def test_a_value_that_is_no_text_is_read_as_json() -> None:
    reference = SecretReference("api-key", is_text=False)
    assert ConfiguredSecrets({}, {"STEPFLOW_VAR_API_KEY": '{"a": [1]}'}).find(reference) == b'{"a":[1]}'
    assert ConfiguredSecrets({}, {"STEPFLOW_VAR_API_KEY": "{"}).find(reference) is None


def test_a_flow_from_anywhere_has_only_those_variables_read_that_are_meant_for_flows() -> None:
    secrets = ConfiguredSecrets({"k": SecretConfig(env="OPENAI_API_KEY")}, {})
    assert secrets.may_read("STEPFLOW_VAR_X")
    assert secrets.may_read("OPENAI_API_KEY")
    assert not secrets.may_read("AWS_SECRET_ACCESS_KEY")


VALUE = 'first "quoted" \\ line\nsécond'


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(json.dumps(VALUE)),
        json.dumps(VALUE, ensure_ascii=False),
        repr(VALUE),
        repr({"key": VALUE}),
        "only the sécond line",
        "https://example.com/?key=" + urllib.parse.quote(VALUE, safe=""),
    ],
)
def test_what_was_looked_up_is_scrubbed_however_it_is_quoted(text: str) -> None:
    secrets = ConfiguredSecrets({}, {"STEPFLOW_VAR_API_KEY": VALUE})
    assert secrets.scrub(text) == text, "nothing was looked up yet"
    secrets.find(KEY)
    for scrubbed in (secrets.scrub(text), json.dumps(secrets.scrub_json({text: [text, 1, None]}))):
        assert SCRUBBED in scrubbed
        assert "quoted" not in scrubbed
        assert "cond" not in scrubbed


def test_the_parts_of_a_structured_secret_are_scrubbed_and_short_words_are_not() -> None:
    secrets = ConfiguredSecrets({}, {"STEPFLOW_VAR_API_KEY": '{"user": "ab", "password": ["hunter22", 123456, true]}'})
    secrets.find(SecretReference("api-key", is_text=False))
    text: Any = secrets.scrub("ab hunter22 123456 true user")
    assert text == f"ab {SCRUBBED} {SCRUBBED} true user"
    assert secrets.scrub_json({"pin": 123456, "count": 12}) == {"pin": SCRUBBED, "count": 12}


@pytest.mark.parametrize("length", range(4, len(VALUE)))
def test_what_a_cut_has_left_of_a_secret_is_scrubbed(length: int) -> None:
    secrets = ConfiguredSecrets({}, {"STEPFLOW_VAR_API_KEY": VALUE})
    secrets.find(KEY)
    for text in (f"bad key {VALUE[:length]}", f"bad key {VALUE[:length]}…", f"…\n{VALUE[-length:]} is no key"):
        said = secrets.scrub(text)
        left = said.replace(SCRUBBED, "").replace("bad key", "").replace("is no key", "").strip("… \n")
        assert SCRUBBED in said
        assert len(left) < SHORTEST
