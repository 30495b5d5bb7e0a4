"""Bytes into lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from protocol.framing import LineSplitter

chunks_of_lines = st.lists(
    st.sampled_from([b"{}", b"[1]", b"\n", b"\r\n", b" ", b"", b"x" * 7, b"y" * 20]), max_size=30
)


def split_all(chunks: list[bytes], max_frame_bytes: int = 16) -> tuple[list[bytes], bool]:
    splitter = LineSplitter(max_frame_bytes)
    lines = [line for chunk in chunks for line in splitter.split(chunk)]
    return lines, splitter.fault is not None


@given(chunks_of_lines, st.lists(st.integers(0, 400)))
def test_the_lines_are_the_same_however_the_stream_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces) + b"\n"
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert split_all(chunks) == split_all([stream]) == split_all([bytes([byte]) for byte in stream])


def test_half_a_line_at_the_end_of_the_stream_is_no_frame() -> None:
    assert split_all([b'{"a":1}\n{"b"', b":2}"]) == ([b'{"a":1}'], False)


def test_crlf_ends_a_line_and_blank_lines_are_ignored() -> None:
    assert split_all([b"{}\r\n\n \t\r\n\r\n[]\n"]) == ([b"{}", b"[]"], False)


def test_a_line_may_be_as_long_as_the_limit() -> None:
    assert split_all([b"x" * 16 + b"\n"]) == ([b"x" * 16], False)
    assert split_all([b"x" * 16, b"\r", b"\n"]) == ([b"x" * 16], False)


def test_frames_before_a_line_that_is_too_long_are_given_out_and_none_after_it() -> None:
    assert split_all([b"{}\n" + b"x" * 17 + b"\n[]\n", b"[]\n"]) == ([b"{}"], True)


def test_a_line_that_is_too_long_names_the_limit() -> None:
    splitter = LineSplitter(16)
    splitter.split(b"x" * 17 + b"\n")
    assert splitter.fault is not None
    assert splitter.fault.data == {"limit": "maxFrameBytes", "value": 16}


def test_a_line_without_end_takes_no_more_memory_than_the_limit() -> None:
    splitter = LineSplitter(1000)
    for _ in range(10_000):
        assert splitter.split(b"x" * 100) == []
        assert sum(map(len, splitter._held)) <= 1001
    assert splitter.fault is not None
