"""Guards of the wire, FAULTS 7 to 20."""

from __future__ import annotations

from typing import Final

from tests.guards.guard import Guard

CONNECT: Final = "tests/stepflow_runtime/connect"
MODEL: Final = "tests/stepflow_runtime/model"
PROTOCOL: Final = "tests/protocol"
SERVICES: Final = "tests/stepflow_runtime/services"

WIRE: Final = (
    Guard(
        7,
        "half a line is held until its end comes",
        "protocol/framing.py",
        "complete, rest = data[:end], data[end + 1 :]",
        'complete, rest = data, b""',
        f"{PROTOCOL}/test_framing.py::test_half_a_line_at_the_end_of_the_stream_is_no_frame",
    ),
    Guard(
        8,
        "a cancellation does not reach the sender",
        "protocol/sender.py",
        "trio.CancelScope(shield=True, deadline=self._deadline)",
        "trio.CancelScope(deadline=self._deadline)",
        f"{PROTOCOL}/test_link.py::test_a_cancelled_link_sends_whole_lines_only",
    ),
    Guard(
        9,
        "no more is held of a line than the limit",
        "protocol/framing.py",
        "if self._held_bytes > self._max_frame_bytes + 1:",
        "if not self._max_frame_bytes:",
        f"{PROTOCOL}/test_framing.py::test_a_line_without_end_takes_no_more_memory_than_the_limit",
    ),
    Guard(
        10,
        "a line is UTF-8",
        "protocol/messages.py",
        "        if not line.isascii():\n            line.decode()\n",
        "",
        f"{PROTOCOL}/test_messages.py::test_what_is_no_json_is_a_parse_error_without_id",
    ),
    Guard(
        10,
        "what nests too deeply for the parser is a parse error",
        "protocol/messages.py",
        "except UNREADABLE:\n        raise _explain(line) from None\n    spare",
        "except (DecodeError, UnicodeDecodeError):\n        raise _explain(line) from None\n    spare",
        f"{PROTOCOL}/test_messages.py::test_what_is_no_json_is_a_parse_error_without_id",
    ),
    Guard(
        11,
        "what is passed on is never decoded",
        "protocol/messages.py",
        "    return envelope\n\n\ndef is_batch",
        "    envelope.result = Raw(json.dumps(json.loads(bytes(envelope.result))).encode())\n"
        "    return envelope\n\n\ndef is_batch",
        f"{PROTOCOL}/test_messages.py::test_numbers_keep_every_digit",
    ),
    Guard(
        11,
        "a key that is there twice in an envelope is refused",
        "protocol/messages.py",
        "if spare >= _SHORTEST_FIELD and _has_duplicate_key(line):",
        "if not line:",
        f"{PROTOCOL}/test_messages.py::test_a_key_that_is_there_twice_is_refused",
    ),
    Guard(
        11,
        "what is hashed has each key once",
        "stepflow_runtime/model/canonical.py",
        'if structure.count(b":") != _strip_strings(canonical).count(b":"):',
        "if not canonical:",
        f"{MODEL}/test_canonical.py::test_a_duplicate_key_is_refused_with_its_place",
    ),
    Guard(
        12,
        "requests in handlers are kept apart also when their ids are equal",
        "protocol/handling.py",
        "self._works.setdefault(request.id, []).append(work)",
        "self._works.setdefault(request.id, [work])",
        f"{PROTOCOL}/test_handling.py::test_two_equal_ids_in_handlers_are_both_answered_and_both_cancelled",
    ),
    Guard(
        13,
        "an answer ends its call, so that a second one finds none",
        "protocol/peer.py",
        "        token = self._pending.pop(bytes(envelope.id), _UNKNOWN)\n",
        "        token = self._pending.get(bytes(envelope.id), _UNKNOWN)\n",
        f"{PROTOCOL}/test_peer.py::test_late_unknown_and_repeated_answers_are_counted_and_dropped",
    ),
    Guard(
        14,
        "an id is a string, a number or null",
        "protocol/messages.py",
        "if envelope.id and bytes(envelope.id)[0] not in _ID_STARTS:",
        "if not line:",
        f"{PROTOCOL}/test_peer.py::test_an_id_of_another_kind_is_an_invalid_request",
    ),
    Guard(
        15,
        "an empty batch is refused",
        "protocol/peer.py",
        "        if not elements:\n",
        "        if elements is None:\n",
        f"{PROTOCOL}/test_peer.py::test_an_empty_batch_gets_one_error",
    ),
    Guard(
        15,
        "a batch above the limit is refused as a whole",
        "protocol/peer.py",
        "if len(elements) > limit:",
        "if not limit:",
        f"{PROTOCOL}/test_peer.py::test_a_batch_above_the_limit_is_refused_as_a_whole_and_says_the_limit",
    ),
    Guard(
        16,
        "what has no id is not answered, whatever its params are",
        "protocol/peer.py",
        "        if not envelope.id:\n",
        "        if not envelope.id and is_structured:\n",
        f"{PROTOCOL}/test_peer.py::test_a_notification_is_never_answered_however_bad",
    ),
    Guard(
        17,
        "the wire is moved off stdout",
        "protocol/streams.py",
        "    os.dup2(2, 1)\n",
        "",
        f"{PROTOCOL}/test_stdio.py::test_print_cannot_break_a_wire_that_was_moved_off_stdio",
    ),
    Guard(
        17,
        "of a server's stderr only the tail is kept",
        "stepflow_runtime/connect/stdio.py",
        "            del self._ring[:-STDERR_BYTES]\n",
        "",
        f"{CONNECT}/test_stdio.py::test_a_flood_on_stderr_takes_no_more_memory_than_what_is_kept",
    ),
    Guard(
        18,
        "the reader does not wait for the writer",
        "protocol/link.py",
        "                self._receive(data)\n",
        "                self._receive(data)\n"
        "                while self.queued_bytes:\n                    await trio.sleep(0.001)\n",
        f"{PROTOCOL}/test_link.py::test_reading_goes_on_while_handlers_and_both_writers_wait",
    ),
    Guard(
        18,
        "a peer that does not read loses the connection",
        "protocol/peer.py",
        "if self.queued_bytes > self._max_queued_bytes:",
        "if not self._max_queued_bytes:",
        f"{PROTOCOL}/test_link.py::test_a_peer_that_does_not_read_loses_the_connection",
    ),
    Guard(
        19,
        "a reader of a stream gets no more at once than a frame holds",
        "stepflow_runtime/services/byproducts/streams.py",
        "if budget < 0 and found:",
        "if not chunk:",
        f"{SERVICES}/byproducts/test_streams.py::test_an_answer_holds_what_fits_a_frame_and_at_least_one_chunk",
    ),
    Guard(
        20,
        "so many requests of a connection are handled at once",
        "protocol/handling.py",
        "if self.handled >= self._limits.max_handled:",
        "if not self._limits.max_handled:",
        f"{PROTOCOL}/test_handling.py::test_requests_beyond_the_limit_are_throttled_and_those_within_are_answered",
    ),
    Guard(
        20,
        "a wait on which others hang is never refused",
        "protocol/handling.py",
        "if self.parked >= self._limits.max_parked and not over_limit:",
        "if self.parked >= self._limits.max_parked:",
        f"{PROTOCOL}/test_handling.py::test_a_wait_that_others_hang_on_is_never_refused_and_counts_all_the_same",
    ),
)
