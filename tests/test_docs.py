"""The reference is what the code says, and each promise has tests that exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct
from msgspec.structs import fields

from docs.configuration import PLUGINS, SECTIONS
from docs.generate import FOLDER, PAGES, render
from stepflow_runtime.app import config
from stepflow_runtime.app.cli.root import COMMANDS
from tests.requirements import REQUIREMENTS, TABLE, Requirement

ROOT: Final = Path(__file__).parent.parent


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_current(page: str) -> None:
    assert (FOLDER / page).read_text() == render(page), "it is out of date; write it again with: make docs"


def test_every_section_of_the_configuration_is_told() -> None:
    shapes = {shape for shape in vars(config).values() if isinstance(shape, type) and issubclass(shape, Struct)}
    without_keys_of_their_own = {config.Config, config.McpProcessConfig}
    sections = {shape for shape in shapes - without_keys_of_their_own if shape.__module__ == config.__name__}
    written = {shape for _, _, shape in (*PLUGINS, *SECTIONS)}
    assert {shape.__name__ for shape in sections - written if fields(shape)} == set()


def test_every_command_is_told() -> None:
    page = render("cli.md")
    assert [name for name in COMMANDS if f"## stepflow {name}\n" not in page] == []


def test_every_line_of_the_table_is_read() -> None:
    assert len(REQUIREMENTS) + sum(len(requirement.tests) for requirement in REQUIREMENTS) == len(TABLE.split("\n")) - 2


def test_each_promise_has_an_id_of_its_own() -> None:
    ids = [requirement.id for requirement in REQUIREMENTS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.id)
def test_each_promise_has_tests_that_exist(requirement: Requirement) -> None:
    for test in requirement.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), f"{file} does not exist"
        assert not name or name in set(find_tests(ROOT / file)), f"{file} has no test {name}"


def find_tests(path: Path) -> Iterator[str]:
    """Names of the test functions of a file; of a class as `Class::test`."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                yield name
            case ast.ClassDef(name=name, body=body):
                yield from (
                    f"{name}::{member.name}"
                    for member in body
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
                )
            case _:
                pass
