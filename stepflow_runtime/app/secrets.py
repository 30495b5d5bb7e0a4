"""Where secrets come from: the configuration, the environment; and how they are kept out of what people read.

The value of the variable `api_key` is, in this order,

- what the configuration's `secrets` names for it: `{env: NAME}` or `{file: PATH}`;
- the environment variable that the flow names (`env_var`), if whoever submitted the run may have that read;
- the environment's STEPFLOW_VAR_API_KEY.

It is looked up each time. Whatever was looked up is scrubbed from texts that come back from component servers.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from stepflow_runtime.app.config import SecretConfig
from stepflow_runtime.connect.secret_files import read_secret_file
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.secret import SecretReference

SHORTEST: Final = 4
"""What is shorter is not scrubbed: it would take half of every text with it."""

PREFIX: Final = "STEPFLOW_VAR_"
SCRUBBED: Final = "[secret]"
_CUT_MARKS: Final = "… \n"
"""What a text begins or ends with that was cut."""


class ConfiguredSecrets:
    """Implements `ports.SecretSource`.

    Args:
        config: By the name of the variable.
        environ: The environment.
    """

    def __init__(self, config: Mapping[str, SecretConfig], environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def find(self, reference: SecretReference) -> bytes | None:
        text = self._look_up(reference)
        if text is None:
            return None
        try:
            value: Any = text if reference.is_text else msgspec.json.decode(text)
        except msgspec.DecodeError:
            return None
        self._remember(value)
        return msgspec.json.encode(value)

    def may_read(self, env_var: str) -> bool:
        configured = (secret.env for secret in self._config.values())
        return env_var.startswith(PREFIX) or env_var in configured

    def scrub(self, text: str) -> str:
        if self._pattern is None:
            return text
        return _scrub_ends(self._pattern.sub(SCRUBBED, text), self._spellings)

    def scrub_json(self, value: Any) -> Any:
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, int | float):
            return SCRUBBED if str(value) in self._spellings else value
        if is_object(value):
            return {self.scrub(key): self.scrub_json(member) for key, member in value.items()}
        if is_array(value):
            return [self.scrub_json(member) for member in value]
        return value

    def _look_up(self, reference: SecretReference) -> str | None:
        configured = self._config.get(reference.name)
        if configured is not None:
            if configured.file is not None:
                try:
                    return read_secret_file(configured.file, "secret file").removesuffix("\n")
                except ValueError:
                    return None
            return self._environ.get(configured.env or "")
        if reference.env_var is not None and reference.env_var in self._environ:
            return self._environ[reference.env_var]
        name = re.sub(r"\W", "_", reference.name)
        return self._environ.get(PREFIX + name.upper()) or self._environ.get(PREFIX + name)

    def _remember(self, value: Any) -> None:
        new = {spelling for text in _find_texts(value) for spelling in _spell(text)} - self._spellings
        if new:
            self._spellings |= new
            longest_first = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))


def _scrub_ends(text: str, spellings: Collection[str]) -> str:
    """Takes away what a cut has left of a secret at either end of a text."""
    body = text.strip(_CUT_MARKS)
    first = max((_measure_overlap(spelling, body) for spelling in spellings), default=0)
    last = max((_measure_overlap(body, spelling) for spelling in spellings), default=0)
    if not first and not last:
        return text
    rest = body[first : max(first, len(body) - last)]
    return f"{SCRUBBED if first else ''}{rest}{SCRUBBED if last else ''}"


def _measure_overlap(left: str, right: str) -> int:
    """How much of the end of one text begins the other, in characters; `SHORTEST` or more, else 0."""
    start = right[:SHORTEST]
    at = left.find(start, max(0, len(left) - len(right))) if len(start) == SHORTEST else -1
    while at >= 0 and not right.startswith(left[at:]):
        at = left.find(start, at + 1)
    return 0 if at < 0 else len(left) - at


def _find_texts(value: Any) -> list[str]:
    """The texts in a secret: itself, or its parts; numbers too."""
    if is_object(value):
        return [text for member in value.values() for text in _find_texts(member)]
    if is_array(value):
        return [text for member in value for text in _find_texts(member)]
    if value is None or isinstance(value, bool):
        return []
    return [str(value)]


def _spell(text: str) -> set[str]:
    """How a text may be written: as it stands, line by line, in a URL, and quoted, once or twice, by JSON or Python."""
    spellings = {text, *text.splitlines()}
    spellings |= {spelling.strip() for spelling in spellings}
    spellings |= {urllib.parse.quote(spelling, safe="") for spelling in spellings}
    for _ in range(2):
        spellings |= {quote(spelling)[1:-1] for quote in (json.dumps, _dump, repr) for spelling in spellings}
    return {spelling for spelling in spellings if len(spelling) >= SHORTEST}


def _dump(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
