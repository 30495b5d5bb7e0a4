from __future__ import annotations

import pytest

from stepflow_runtime.connect.routes import Destination, Routes, parse_route


def routes(*pairs: tuple[str, str]) -> Routes:
    return Routes([parse_route(pattern, plugin) for pattern, plugin in pairs])


def test_a_server_is_sent_a_slash_and_what_the_pattern_matched() -> None:
    found = routes(("/python/{*component}", "py")).resolve("/python/text/clean")
    assert found == Destination("py", "/text/clean")


def test_a_bare_prefix_means_all_beneath_it() -> None:
    assert routes(("/python", "py")).resolve("/python/clean") == Destination("py", "/clean")


@pytest.mark.parametrize("component", ["/python", "/python/", "/pythonic/clean", "python/clean", ""])
def test_what_is_not_beneath_the_prefix_does_not_match(component: str) -> None:
    assert routes(("/python", "py")).resolve(component) is None


def test_the_first_match_wins() -> None:
    both = routes(("/a/b", "first"), ("/a", "second"))
    assert both.resolve("/a/b/c") == Destination("first", "/c")
    assert both.resolve("/a/c") == Destination("second", "/c")


def test_a_route_of_everything_keeps_the_whole_path() -> None:
    assert routes(("/{*component}", "all")).resolve("/a/b") == Destination("all", "/a/b")


def test_a_component_is_listed_under_the_path_that_reaches_it() -> None:
    both = routes(("/a/b", "first"), ("/a", "second"))
    assert both.full_path("second", "/c") == "/a/c"
    assert both.full_path("second", "/b/c") is None, "the first route hides it"


@pytest.mark.parametrize("pattern", ["python", "/a/{x}/{*component}", "/{*component}/b", "/a{*component}"])
def test_a_pattern_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="cannot be read; write it like"):
        parse_route(pattern, "py")
