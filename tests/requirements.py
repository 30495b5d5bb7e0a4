"""What is promised, and which tests show it. docs/reference/requirements.md is written from it.

A promise is a line `id [section] sentence`; the indented lines below it are node ids of tests, from the folder `tests`.
A function's stands for all its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct


class Requirement(Struct, frozen=True):
    """One promise.

    Args:
        id: Short, and never used again for another one.
        section: Where it is specified.
        sentence: What is promised.
        tests: Node ids of the tests that show it.
    """

    id: str
    section: str
    sentence: str
    tests: tuple[str, ...]

    @property
    def faults(self) -> frozenset[int]:
        """The numbers of the faults that it is about."""
        cited = re.search(r"FAULTS ([^;]*)", self.section)
        return frozenset(map(int, re.findall(r"\b\d+\b", cited[1]))) if cited else frozenset()


def read_table(table: str) -> Iterator[Requirement]:
    """Reads promises and their tests from the text below."""
    for id_, section, sentence, tests in re.findall(r"^(\S+) \[(.+?)\] (.+)\n((?:    \S+\n)+)", table, re.MULTILINE):
        yield Requirement(id_, section, sentence, tuple(f"tests/{test}" for test in tests.split()))


TABLE: Final = """
wire-ids [PROTOCOL §1; FAULTS 14] Ids of any string, number or null are echoed verbatim; others are -32600.
    protocol/test_peer.py::test_an_id_is_echoed_byte_for_byte
    protocol/test_peer.py::test_an_id_of_another_kind_is_an_invalid_request
wire-equal-ids [PROTOCOL §1; FAULTS 12] Two equal ids in flight are both answered.
    protocol/test_peer.py::test_two_equal_ids_in_flight_are_both_answered
    protocol/test_handling.py::test_two_equal_ids_in_handlers_are_both_answered_and_both_cancelled
wire-batch [PROTOCOL §1; FAULTS 15] A batch gets one answer per element, in one array; an empty one gets one error.
    protocol/test_peer.py::test_a_batch_is_answered_once_with_one_answer_per_element_when_all_are_there
    protocol/test_peer.py::test_an_empty_batch_gets_one_error
    protocol/test_peer.py::test_a_batch_of_nonsense_gets_an_array_with_an_error_for_each
    protocol/test_link.py::test_a_batch_with_slow_and_fast_handlers_is_answered_as_one_array
    protocol/test_peer.py::test_a_batch_above_the_limit_is_refused_as_a_whole_and_says_the_limit
wire-notification [PROTOCOL §1; FAULTS 16] A notification is never answered.
    protocol/test_peer.py::test_a_notification_is_never_answered_however_bad
    protocol/test_peer.py::test_a_batch_of_notifications_gets_no_answer
    protocol/test_link.py::test_a_notification_reaches_its_handler_and_is_not_answered
wire-order [PROTOCOL] Either side may send at any time, and answers come in any order.
    protocol/test_peer.py::test_answers_in_any_order_find_their_calls
    protocol/test_link.py::test_both_sides_call_at_the_same_time_with_more_than_the_wire_holds
wire-errors [PROTOCOL §6; FAULTS 10] What is no JSON is -32700, what is no message -32600, and the connection goes on.
    protocol/test_messages.py::test_what_is_no_json_is_a_parse_error_without_id
    protocol/test_messages.py::test_what_is_json_but_no_message_is_an_invalid_request
    protocol/test_peer.py::test_bad_lines_are_answered_and_the_next_one_is_read
wire-frames [PROTOCOL; FAULTS 7] However the stream is cut, the messages are the same.
    protocol/test_framing.py::test_the_lines_are_the_same_however_the_stream_is_cut
    protocol/test_peer.py::test_no_bytes_raise_and_cuts_do_not_matter
    protocol/test_framing.py::test_half_a_line_at_the_end_of_the_stream_is_no_frame
wire-payloads [PROTOCOL; FAULTS 11] A payload that is only passed on keeps every digit.
    protocol/test_messages.py::test_numbers_keep_every_digit
    stepflow_runtime/connect/test_pool.py::test_outputs_keep_their_digits
    stepflow_runtime/model/test_expression.py::test_numbers_and_texts_pass_through_digit_for_digit
    contracts/test_store_read.py::test_payloads_keep_their_digits
wire-keys [FAULTS 11] A key that is there twice is refused, in an envelope and in what is hashed.
    protocol/test_messages.py::test_a_key_that_is_there_twice_is_refused
    stepflow_runtime/model/test_canonical.py::test_a_duplicate_key_is_refused_with_its_place
wire-late [FAULTS 13] A late, unknown or repeated answer is counted and dropped.
    protocol/test_peer.py::test_late_unknown_and_repeated_answers_are_counted_and_dropped
wire-torn [PROTOCOL §2] A component server that tears an answer is lost at once; a stray line harms nothing.
    protocol/test_peer.py::test_a_torn_answer_breaks_a_connection_that_waits_for_answers_if_that_is_wanted
    protocol/test_peer.py::test_what_is_no_message_breaks_nothing_that_waits_for_no_answer
wire-eof [PROTOCOL §1] What was asked before the end of a stream is answered.
    conformance/test_stdio.py::test_what_was_asked_before_the_end_of_file_is_answered
wire-cancel [PROTOCOL §1] `$/cancelRequest` stops the work, which is answered nevertheless.
    protocol/test_handling.py::test_a_cancelled_request_is_cancelled_in_its_handler_and_still_answered
    protocol/test_handling.py::test_a_request_without_a_task_is_cancelled_and_still_answered
    protocol/test_handling.py::test_a_call_whose_caller_is_cancelled_is_cancelled_at_the_peer
    component_sdk/test_serve.py::test_a_cancelled_execution_is_answered_so_and_others_go_on
wire-declared [PROTOCOL §1] Nothing beyond version 1 is sent to a peer that did not declare it.
    protocol/test_handling.py::test_a_peer_that_did_not_declare_it_is_sent_no_cancellation
    stepflow_runtime/connect/test_pool.py::test_a_server_that_did_not_declare_it_is_sent_no_cancel_request
wire-browser [PROTOCOL §1] A first line that is no JSON-RPC closes a socket.
    protocol/test_link.py::test_a_first_line_from_a_browser_closes_the_connection_without_an_answer
    stepflow_runtime/connect/test_sockets.py::test_a_browser_is_not_a_client
wire-discover [PROTOCOL] `rpc.discover` publishes the catalogue of a side, and the two never disagree.
    protocol/test_openrpc.py::test_every_method_of_the_side_is_there_with_every_param
    protocol/test_openrpc.py::test_every_reference_leads_somewhere
    protocol/test_link.py::test_both_sides_discover
wire-frame-limit [PROTOCOL §7; FAULTS 9] A call that would not fit a frame fails unsent; a line that is too long breaks the connection.
    protocol/test_link.py::test_a_call_that_would_not_fit_a_frame_fails_and_the_link_goes_on
    protocol/test_peer.py::test_a_line_that_is_too_long_breaks_the_connection_after_what_came_before_it
    protocol/test_framing.py::test_a_line_that_is_too_long_names_the_limit
    system/test_memory.py::test_a_line_without_end_is_refused_at_the_limit_and_takes_no_more_memory_than_that
    protocol/test_framing.py::test_a_line_without_end_takes_no_more_memory_than_the_limit
limits [DESIGN, Limits] Every limit is told, and what is configured is what holds.
    test_limits.py::test_every_limit_that_nobody_sets_is_told
    test_limits.py::test_every_limit_of_the_configuration_is_used
    stepflow_runtime/app/test_config.py::test_what_cannot_be_used_is_refused_with_its_place
    stepflow_runtime/services/automation/test_schedules.py::test_times_beyond_those_that_may_queue_up_are_left_out
wire-room [PROTOCOL §7] Nothing new goes to a peer that has much unread, and it goes as soon as there is room.
    stepflow_runtime/connect/test_pool.py::test_nothing_new_goes_to_a_server_that_has_much_unsent_until_it_has_read_on
wire-throttle [PROTOCOL §7; FAULTS 20] Beyond what is handled at once, requests are -32024; parked waits do not count.
    protocol/test_handling.py::test_requests_beyond_the_limit_are_throttled_and_those_within_are_answered
    protocol/test_handling.py::test_requests_that_hold_too_many_bytes_are_throttled
    protocol/test_handling.py::test_parked_requests_do_not_count_as_handled_but_have_a_limit_of_their_own
    component_sdk/test_context.py::test_a_throttled_request_is_sent_again
wire-slow-reader [PROTOCOL §7; FAULTS 18] The reader never waits for a handler or the writer; a peer that does not read loses the connection.
    protocol/test_link.py::test_reading_goes_on_while_handlers_and_both_writers_wait
    protocol/test_link.py::test_a_peer_that_does_not_read_loses_the_connection
wire-waiters [DESIGN, Concurrency] A lost connection wakes every waiter, once.
    protocol/test_link.py::test_waiters_are_woken_when_the_peer_closes
    protocol/test_handling.py::test_requests_without_a_task_end_with_their_connection
    protocol/test_peer.py::test_closing_gives_every_pending_token_once
wire-whole-lines [DESIGN, Concurrency; FAULTS 8] Cancelling never tears a frame.
    protocol/test_link.py::test_a_cancelled_link_sends_whole_lines_only
    protocol/test_link.py::test_a_flush_while_the_rest_of_a_line_waits_does_not_tear_it
wire-nodelay [DESIGN, Libraries] Sockets do not hold small writes back.
    protocol/test_stdio.py::test_tcp_does_not_hold_small_writes_back
wire-secrets [PROTOCOL §6] A defect is answered without details; they go to the log.
    protocol/test_dispatch.py::test_a_defect_is_logged_and_answered_without_details
wire-conformance [PROTOCOL §1] JSON-RPC 2.0 to the letter, tried from outside on a socket.
    conformance/test_json_rpc.py::test_a_mixed_batch_has_one_answer_for_each_element_that_wants_one
    conformance/test_json_rpc.py::test_an_id_comes_back_as_it_was_written
    conformance/test_json_rpc.py::test_what_is_no_json_is_a_parse_error_and_the_connection_goes_on
    conformance/test_json_rpc.py::test_a_message_that_arrives_byte_by_byte_is_one_message
    conformance/test_json_rpc.py::test_cancelling_a_request_ends_it_with_its_own_code
connect-initialize [PROTOCOL §1] A server is initialized before anything else, and again after every restart.
    component_sdk/test_serve.py::test_requests_before_initialize_are_refused_and_ping_is_not
    stepflow_runtime/connect/test_supervisor.py::test_a_lost_server_is_opened_and_initialized_again
connect-version [PROTOCOL §6] Another protocol version is refused.
    stepflow_runtime/connect/test_supervisor.py::test_another_protocol_version_is_refused
    stepflow_runtime/connect/test_sockets.py::test_another_protocol_version_is_refused
connect-spawn [PROTOCOL §1; FAULTS 6] The runtime starts servers as processes, and leaves none behind.
    stepflow_runtime/connect/test_stdio.py::test_a_process_answers
    stepflow_runtime/connect/test_stdio.py::test_leaving_stops_the_process_and_leaves_no_zombie
    stepflow_runtime/connect/test_stdio.py::test_a_process_that_does_not_stop_is_killed_with_its_children
    stepflow_runtime/connect/test_stdio.py::test_no_descriptors_are_left_behind
connect-dial [PROTOCOL §1] The runtime dials servers that listen, again when they are lost.
    stepflow_runtime/connect/test_sockets.py::test_a_server_that_listens_is_dialled_and_dialled_again
    stepflow_runtime/connect/test_sockets.py::test_a_server_may_listen_on_a_unix_socket
    test_examples.py::test_an_example_gives_what_is_expected
connect-dial-in [PROTOCOL §1] A server that dials the runtime registers its components under its name.
    stepflow_runtime/connect/test_sockets.py::test_a_server_that_dials_in_is_initialized_and_called
    stepflow_runtime/connect/test_sockets.py::test_a_server_under_an_unknown_name_is_refused_and_told_the_names
    component_sdk/test_processes.py::test_a_server_dials_the_runtime_and_again
connect-processes [FLOWS, Configuration] `processes: N` runs N processes and spreads the calls.
    stepflow_runtime/connect/test_stdio.py::test_two_processes_are_two_processes
    stepflow_runtime/connect/test_pool.py::test_calls_spread_over_processes
connect-restart [PROTOCOL §6; FAULTS 3] A server that dies is started again; what was in flight fails at once, and only once.
    stepflow_runtime/connect/test_supervisor.py::test_a_lost_connection_fails_what_is_in_flight_at_once_and_only_once
    stepflow_runtime/connect/test_supervisor.py::test_pauses_between_attempts_grow_up_to_a_limit
    stepflow_runtime/connect/test_stdio.py::test_a_process_that_is_killed_fails_what_is_in_flight_and_is_started_again
    stepflow_runtime/engine/test_run_state.py::test_two_budgets_share_one_attempt_counter
connect-hopeless [FAULTS 4] A server that never initializes, or ends each time, is started again after growing pauses; what needs it fails in time, and quotes its stderr.
    stepflow_runtime/connect/test_stdio.py::test_a_server_that_never_initializes_is_given_up_and_told_about
    stepflow_runtime/connect/test_supervisor.py::test_pauses_between_attempts_grow_up_to_a_limit
    conformance/test_bad_input.py::test_a_server_that_exits_at_once
    conformance/test_bad_input.py::test_a_server_that_exits_when_it_is_called
connect-silent [PROTOCOL §1] A silent server on a socket that declared `ping` is pinged, and lost when it says nothing in time; one that did not declare it is left alone.
    protocol/test_heartbeat.py::test_a_silent_peer_is_pinged_and_one_that_answers_stays
    protocol/test_heartbeat.py::test_a_peer_that_is_gone_is_given_up_within_both_times
    protocol/test_heartbeat.py::test_whatever_a_peer_says_is_a_sign_of_life_and_spares_it_the_ping
    protocol/test_heartbeat.py::test_an_answer_that_came_while_we_were_stopped_counts
    protocol/test_heartbeat.py::test_a_peer_that_takes_a_long_message_slowly_is_alive
    protocol/test_heartbeat.py::test_the_system_looks_after_connections_whose_peer_declares_nothing
    stepflow_runtime/connect/test_supervisor.py::test_a_silent_server_that_declared_ping_is_lost_in_time_and_opened_again
    stepflow_runtime/connect/test_supervisor.py::test_a_server_that_did_not_declare_ping_may_be_silent
    system/test_silent_servers.py::test_a_stopped_server_is_lost_within_a_bound_and_is_back_when_it_goes_on
connect-stubborn [DESIGN, Limits] A component that goes on after its time-out or cancellation ends with its process, after a while in which the rest there may end.
    stepflow_runtime/connect/test_supervisor.py::test_a_server_that_goes_on_with_what_was_cancelled_is_opened_again
    stepflow_runtime/connect/test_supervisor.py::test_what_does_not_end_beside_a_stubborn_component_is_lost
    stepflow_runtime/connect/test_supervisor.py::test_who_is_wanted_or_stops_in_time_is_left_alone
    system/test_stubborn_components.py::test_a_component_that_outlasts_its_time_out_ends_with_its_process
    system/test_stubborn_components.py::test_a_component_that_ignores_its_cancellation_ends_with_its_process
connect-stderr [DESIGN, Concurrency; FAULTS 17] stderr is always drained, and quoted in errors.
    stepflow_runtime/connect/test_stdio.py::test_a_flood_on_stderr_blocks_nothing_and_only_its_tail_is_kept
    stepflow_runtime/connect/test_stdio.py::test_the_failure_tells_the_exit_status_and_quotes_stderr
    stepflow_runtime/connect/test_stdio.py::test_a_flood_on_stderr_takes_no_more_memory_than_what_is_kept
connect-unavailable [PROTOCOL §6] No connected server is waiting, not an attempt, and bounded.
    stepflow_runtime/connect/test_pool.py::test_executions_wait_for_a_server_and_are_sent_when_it_comes
    stepflow_runtime/connect/test_pool.py::test_executions_that_wait_too_long_for_a_server_fail
    stepflow_runtime/engine/test_retry.py::test_a_lost_server_is_another_attempt_and_one_that_never_came_is_none
    system/test_dead_server.py::test_a_server_that_dies_at_import_fails_the_run_in_time_with_its_stderr
connect-slots [PROTOCOL §4; FAULTS 22] No more is in flight than a server's slots; who waits in a request holds none.
    stepflow_runtime/connect/test_pool.py::test_no_more_is_in_flight_than_the_slots_of_a_server
    stepflow_runtime/connect/test_pool.py::test_a_parked_execution_holds_no_slot
connect-fairness [PROTOCOL §4] Free slots go round over root runs.
    stepflow_runtime/connect/test_pool.py::test_root_runs_take_turns
    stepflow_runtime/connect/test_pool.py::test_items_under_way_go_before_items_that_begin
connect-turns [PROTOCOL §4] A big run leaves turns to what runs beside it, and its commits do not hold theirs up.
    component_sdk/test_backlog.py::test_one_of_another_run_does_not_wait_for_a_thousand
    stepflow_runtime/connect/test_inbox.py::test_in_a_crowd_trees_take_turns_of_a_slice
    stepflow_runtime/connect/test_inbox.py::test_between_two_slices_others_go_on_as_far_as_they_can
    stepflow_runtime/engine/test_committer.py::test_while_it_does_others_are_committed
connect-timeout [PROTOCOL §4] A step's time-out counts from dispatch.
    stepflow_runtime/connect/test_pool.py::test_time_outs_count_from_dispatch
connect-alone [PROTOCOL §6] After its second transport failure a step is sent alone to a process.
    stepflow_runtime/connect/test_pool.py::test_an_execution_that_goes_alone_waits_for_an_idle_process_and_keeps_others_away
connect-execution [PROTOCOL §2; FAULTS 28] A callback belongs to the execution that it names, or can only mean; a stale one is refused.
    stepflow_runtime/connect/test_connection.py::test_an_execution_id_finds_its_execution_on_any_connection
    stepflow_runtime/connect/test_connection.py::test_the_id_of_an_execution_that_ended_is_refused
    stepflow_runtime/connect/test_connection.py::test_without_an_id_run_and_step_name_the_execution_if_there_is_one
    stepflow_runtime/connect/test_connection.py::test_without_observability_the_only_execution_is_meant
connect-codes [PROTOCOL §6] Errors of components become the codes of the protocol.
    stepflow_runtime/connect/test_pool.py::test_errors_become_the_codes_of_the_protocol
connect-routes [FLOWS, Configuration] The first route that matches wins, and a server is sent what the pattern matched.
    stepflow_runtime/connect/test_routes.py::test_the_first_match_wins
    stepflow_runtime/connect/test_routes.py::test_a_server_is_sent_a_slash_and_what_the_pattern_matched
    stepflow_runtime/connect/test_routes.py::test_a_bare_prefix_means_all_beneath_it
connect-mock [FLOWS, Configuration] The mock compares inputs as JSON values; an input without behaviour is `COMPONENT_FAILED`.
    stepflow_runtime/connect/test_mock.py::test_inputs_are_compared_as_json_values
    stepflow_runtime/connect/test_mock.py::test_an_input_without_behavior_is_a_component_failure_that_says_so
    stepflow_runtime/connect/test_mock.py::test_behaviors_may_be_a_mapping_from_json_to_result
builtin-runs [FLOWS, Built-in components] `eval`, `map` and `iterate` make real sub-runs, whose failure does not fail the step.
    stepflow_runtime/connect/test_builtins.py::test_eval_gives_the_items_result_and_the_run
    stepflow_runtime/connect/test_builtins.py::test_map_gives_all_results_by_index_and_keeps_digits
    stepflow_runtime/connect/test_builtins.py::test_iterate_goes_on_with_next_until_there_is_a_result
    stepflow_runtime/connect/test_builtins.py::test_a_failed_sub_run_does_not_fail_the_step
builtin-files [FLOWS, Built-in components] `load_file` reads only beneath the configured folders.
    stepflow_runtime/connect/test_builtins.py::test_files_outside_the_folders_are_not_read
    stepflow_runtime/connect/test_builtins.py::test_files_are_read_by_their_suffix
flow-yaml [FLOWS; FAULTS 38] YAML is read with JSON's types; duplicate keys and unknown tags are errors, and aliases have a budget.
    stepflow_runtime/model/test_loader.py::test_yaml_is_read_with_the_types_of_json
    stepflow_runtime/model/test_loader.py::test_what_is_refused_is_refused_with_its_place
    stepflow_runtime/model/test_loader.py::test_aliases_have_a_budget
    component_sdk/test_flow.py::test_yaml_has_the_types_of_json
flow-published [FLOWS] Flow files and configurations of Stepflow load as they are.
    stepflow_runtime/model/test_loader.py::test_a_published_flow_file_loads_as_it_is
    stepflow_runtime/app/test_config.py::test_a_published_stepflow_configuration_loads_as_it_is
flow-id [PROTOCOL §3] A blob's id is the hash of its canonical bytes, and JSON has one canonical form.
    stepflow_runtime/model/test_canonical.py::test_json_has_one_canonical_form
    stepflow_runtime/model/test_canonical.py::test_a_blob_id_is_the_hash_of_the_bytes
    stepflow_runtime/model/test_canonical.py::test_what_is_not_json_or_cannot_be_held_exactly_is_refused
flow-precedence [FLOWS, Expressions] `$literal` > `$if` > `$coalesce` > `$step` > `$input` > `$variable` > plain object.
    stepflow_runtime/model/test_expression.py::test_of_several_keys_the_first_by_precedence_counts
flow-opaque [FLOWS, Expressions] Data is never read as an expression.
    stepflow_runtime/model/test_expression.py::test_what_data_hold_is_never_read_as_an_expression
    stepflow_runtime/model/test_expression.py::test_a_literal_stands_unread
flow-if [FLOWS, Expressions] `null`, `false` and a failed condition are false, all else is true; only the branch that is taken runs.
    stepflow_runtime/model/test_expression.py::test_null_and_false_are_false
    stepflow_runtime/model/test_expression.py::test_all_else_is_true
    stepflow_runtime/model/test_expression.py::test_a_failed_condition_is_false
    stepflow_runtime/engine/test_plan.py::test_only_the_branch_that_is_taken_runs
flow-coalesce [FLOWS, Expressions] `$coalesce` is the first that is not `null`; a failure propagates.
    stepflow_runtime/model/test_expression.py::test_coalesce_is_the_first_that_is_not_null
    stepflow_runtime/model/test_expression.py::test_a_failure_in_coalesce_propagates
    stepflow_runtime/engine/test_plan.py::test_coalesce_runs_steps_in_order_until_one_is_not_null
flow-paths [FLOWS, Expressions] A missing path fails; into a `null` output it is `null`.
    stepflow_runtime/model/test_expression.py::test_a_missing_path_into_the_input_fails
    stepflow_runtime/model/test_expression.py::test_a_path_into_a_null_output_is_null_but_a_missing_one_fails
    stepflow_runtime/model/test_path.py::test_a_path_is_read
flow-lazy [FLOWS, Execution] Only the steps that the output needs run, and `mustExecute` ones.
    stepflow_runtime/engine/test_plan.py::test_a_step_that_nothing_needs_does_not_run
    stepflow_runtime/engine/test_plan.py::test_must_execute_steps_end_before_the_item_does
flow-parallel [FLOWS, Execution] References alone give the order; independent steps run at once.
    stepflow_runtime/engine/test_plan.py::test_the_arms_of_a_diamond_start_together_and_are_joined_once
    stepflow_runtime/engine/test_plan.py::test_a_chain_runs_step_after_step
flow-failure [FLOWS, Execution] A failed input fails the step with the same error.
    stepflow_runtime/engine/test_plan.py::test_a_failed_step_fails_the_item_with_the_same_error
flow-input-schema [FLOWS, Execution] An item whose input does not fit the flow's schema is told where.
    stepflow_runtime/model/test_schema.py::test_an_input_that_does_not_fit_is_told_where
    test_examples.py::test_an_example_gives_what_is_expected
flow-overrides [FLOWS, Execution] Overrides patch steps; an unknown step, or a patch that makes the flow invalid, is refused.
    stepflow_runtime/model/test_override.py::test_a_merge_patch_changes_the_fields_it_names
    stepflow_runtime/model/test_override.py::test_a_json_patch_is_applied_to_the_step
    stepflow_runtime/model/test_override.py::test_an_unknown_step_is_refused
    stepflow_runtime/model/test_override.py::test_a_patch_that_makes_the_flow_invalid_is_refused
flow-variables [FLOWS, Execution] Variables are checked before a run starts; a literal for a secret is refused and not repeated.
    stepflow_runtime/model/test_variable.py::test_a_missing_variable_is_refused
    stepflow_runtime/model/test_variable.py::test_a_variable_that_does_not_fit_is_refused_where_it_lies
    stepflow_runtime/model/test_variable.py::test_a_literal_for_a_secret_is_refused_and_not_repeated
flow-validation [FLOWS, Execution] Each finding has a path and a code, and all come at once; only what can never run is an error.
    stepflow_runtime/model/test_validate.py::test_each_finding_has_a_code_and_a_place
    stepflow_runtime/model/test_validate.py::test_all_findings_come_at_once
    stepflow_runtime/model/test_validate.py::test_an_unknown_component_is_a_warning
flow-cycle [FLOWS, Execution] A cycle is spelled out.
    stepflow_runtime/model/test_validate.py::test_a_cycle_is_spelled_out
flow-no-fetch [DESIGN, Libraries] Nothing is fetched for a schema.
    stepflow_runtime/model/test_schema.py::test_nothing_is_fetched_for_a_schema
flow-builder [INTERFACES] A flow built in Python equals its YAML, and has its id.
    component_sdk/test_flow.py::test_a_built_flow_equals_its_yaml_and_has_its_id
flow-retry [FLOWS, Execution] A step is tried again, replaced by a default, or fails its item, as `onError` says.
    test_examples.py::test_an_example_gives_what_is_expected
    stepflow_runtime/model/test_flow.py::test_a_retry_has_a_budget_and_a_backoff
store-durable [DESIGN, The five ideas] Every acknowledged write survives `kill -9`.
    stepflow_runtime/store/test_sqlite.py::test_every_acknowledged_write_survives_kill_9
store-group [DESIGN, The five ideas] Concurrent commits share transactions; a bad one fails alone.
    stepflow_runtime/store/test_sqlite.py::test_concurrent_commits_share_transactions
    stepflow_runtime/store/test_sqlite.py::test_a_bad_job_fails_alone_among_concurrent_ones
    contracts/test_store_commit.py::test_a_bad_write_fails_alone
store-sequence [DESIGN, Journal and ports] A write at another sequence number than the journal's is a conflict.
    contracts/test_store_commit.py::test_a_write_at_another_sequence_number_is_a_conflict
store-lease [DESIGN, Journal and ports] A write under an older lease is fenced.
    contracts/test_store_commit.py::test_a_lease_of_an_older_epoch_is_fenced
    stepflow_runtime/store/test_sqlite.py::test_an_owner_is_fenced_once_another_has_booted
store-shard [DESIGN, Journal and ports] A tree of runs has the shard of its root.
    contracts/test_store_commit.py::test_a_tree_has_the_shard_of_its_root
store-watch [DESIGN, Journal and ports] Waiters are woken by the commit that ends their wait, and by no other.
    contracts/test_store_watch.py::test_a_commit_wakes_who_waits_for_a_change
    contracts/test_store_watch.py::test_a_commit_that_does_not_reach_the_number_wakes_nobody
    contracts/test_store_watch.py::test_all_watchers_of_a_run_are_woken_by_one_commit
store-outbox [DESIGN, Journal and ports] Messages from run to run are kept until they are settled.
    contracts/test_store_commit.py::test_messages_are_kept_until_they_are_settled
store-idempotency [PROTOCOL §4; FAULTS 25] An idempotency key gives one run.
    contracts/test_store_commit.py::test_an_idempotency_key_gives_one_run
    contracts/test_store_commit.py::test_of_two_equal_idempotency_keys_in_a_group_the_first_wins
store-sub-runs [PROTOCOL §4] A live or successful sub-run holds its key; one that failed may be followed by another.
    contracts/test_store_commit.py::test_a_live_or_successful_sub_run_holds_its_key
    contracts/test_store_commit.py::test_a_sub_run_that_failed_may_be_followed_by_another
store-blob-ids [FAULTS 31] A blob id of another form is refused before anything is opened.
    contracts/test_store_blobs.py::test_an_id_of_another_form_is_refused
store-blobs [PROTOCOL §3; FAULTS 30] The same content is stored once; what is read is verified.
    contracts/test_store_blobs.py::test_the_same_content_is_stored_once_and_keeps_its_type
    stepflow_runtime/store/test_sqlite.py::test_a_damaged_blob_is_an_error_and_healed_by_the_next_put
store-delete [PROTOCOL §4] Deleting takes all that is a run's and frees its keys; a run that has not ended is not deleted.
    contracts/test_store_commit.py::test_deleting_takes_all_that_is_the_runs_and_frees_its_keys
    contracts/test_store_commit.py::test_a_run_that_has_not_ended_is_not_deleted_nor_others_with_it
store-one-owner [DESIGN, Journal and ports; FAULTS 32] A second runtime on the same database is refused.
    stepflow_runtime/store/test_sqlite.py::test_a_second_runtime_is_refused
store-full [DESIGN, Concurrency] A full disk refuses everything and loses nothing.
    stepflow_runtime/store/test_sqlite.py::test_a_full_disk_refuses_everything_and_loses_nothing
store-tables [DESIGN, Status as data] The schema's checks and queries agree with the status tables.
    stepflow_runtime/store/test_sqlite.py::test_the_schema_knows_the_states_of_a_run
    stepflow_runtime/store/test_sqlite.py::test_the_queries_know_which_states_are_final
store-completion [PROTOCOL §4] Results by completion come in the order of commits.
    contracts/test_store_read.py::test_the_journal_is_found_by_completion
engine-recovery [DESIGN, Concurrency] A restored item starts with what has not ended; what was committed does not run again.
    stepflow_runtime/engine/test_plan.py::test_a_restored_item_starts_with_what_has_not_ended
    stepflow_runtime/engine/test_plan.py::test_an_item_gets_as_far_along_its_plan_as_without_it_and_when_it_is_restored
engine-late [FAULTS 28] An answer of an older attempt changes nothing.
    stepflow_runtime/engine/test_run_state.py::test_an_answer_of_an_older_attempt_changes_nothing
    stepflow_runtime/engine/test_run_state.py::test_of_answers_that_come_together_the_late_ones_change_nothing
engine-cancellation [PROTOCOL §4] A cancellation reaches the sub-runs of what it cancels, and a grace ends only what it was given for.
    stepflow_runtime/engine/test_cancellation.py::test_a_run_that_stops_leaves_the_sub_runs_of_items_that_have_ended
    stepflow_runtime/engine/test_cancellation.py::test_a_cancelled_run_takes_all_its_sub_runs_with_it
    stepflow_runtime/engine/test_cancellation.py::test_a_grace_that_is_over_ends_only_the_items_it_was_given_for
engine-crash [FAULTS 1, 2] Dying before or after any commit, or any settled message, loses nothing and does nothing twice.
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
    crash/test_crash_points.py::test_after_many_deaths_the_work_is_done_once
engine-refused-writes [FAULTS 29] Whichever write is refused, or made without an answer, the work is done once.
    crash/test_refused_writes.py::test_whichever_write_is_refused_the_work_is_done_once
    contracts/test_store_commit.py::test_a_write_whose_answer_was_lost_is_written_once_however_often_it_comes
    contracts/test_store_commit.py::test_a_write_that_only_looks_as_one_before_is_a_conflict
engine-outage [FAULTS 29] What cannot be read or written now waits for the medium, and says so in `statusDetail`.
    stepflow_runtime/engine/test_recovery.py::test_a_runtime_that_starts_while_the_disk_fails_waits_for_it
    stepflow_runtime/engine/test_recovery.py::test_inputs_that_cannot_be_read_now_are_read_later
    stepflow_runtime/engine/test_recovery.py::test_a_run_that_waits_for_the_disk_says_so_and_goes_on
engine-lost-flow [FAULTS 30] A run whose flow cannot be read any more fails and names the blob; other runs go on.
    stepflow_runtime/engine/test_recovery.py::test_a_run_whose_flow_cannot_be_read_any_more_fails_and_says_why
    stepflow_runtime/engine/test_recovery.py::test_a_cancelled_run_whose_flow_cannot_be_read_any_more_ends
engine-damaged-run [FAULTS 30] A run whose inputs or journal were damaged fails and says so; start and other runs go on.
    stepflow_runtime/engine/test_recovery.py::test_a_run_that_was_damaged_fails_and_the_others_go_on
    stepflow_runtime/engine/test_recovery.py::test_a_fork_of_a_run_that_was_damaged_fails_and_the_others_go_on
    stepflow_runtime/engine/test_recovery.py::test_inputs_that_were_damaged_fail_a_run_that_is_at_work
    stepflow_runtime/engine/test_recovery.py::test_a_snapshot_that_was_damaged_is_not_missed
engine-read-durable [FAULTS 27] Of an item that goes on only what is durable is read, and nothing that came meanwhile is missed.
    stepflow_runtime/engine/test_waiting_runs.py::test_of_an_item_only_what_is_durable_is_read
    stepflow_runtime/engine/test_suspension.py::test_what_is_resumed_while_its_item_is_read_goes_on_too
engine-cancel-races [PROTOCOL §4; FAULTS 26] Of an end and a cancellation that meet one wins, and all who asked are told which.
    stepflow_runtime/services/test_runs.py::test_of_an_end_and_a_cancellation_that_meet_one_wins_for_everybody
    stepflow_runtime/engine/test_run_state.py::test_an_ended_run_hears_of_no_cancellation
    stepflow_runtime/services/test_runs.py::test_who_cancels_what_another_one_cancels_is_told_what_came_of_it
engine-failed-children [PROTOCOL §4; FAULTS 2] A failed sub-run is replaced after an error and found after a loss.
    stepflow_runtime/services/test_runs.py::test_a_failed_sub_run_is_replaced_after_an_error_and_found_after_a_loss
engine-properties [DESIGN, The five ideas] Random scripts over a run keep every promise, and every journal folds to what is live.
    stepflow_runtime/engine/test_run_properties.py::test_a_run_keeps_its_promises
engine-kill [DESIGN, Concurrency; FAULTS 1, 2, 3, 6, G1-G3, G7] After a hundred kills and stops of the runtime and its servers under load all results are there, no committed step has run again, no sub-run was made twice, and no process or descriptor is left.
    system/test_kill.py::test_nothing_is_lost_repeated_or_left_behind_in_a_hundred_faults
engine-depth [PROTOCOL §4; FAULTS 22, 23] Runs nest 16 deep with `maxConcurrency` 1 and one process; a 17th level is refused.
    system/test_nested_runs.py::test_sixteen_levels_end_with_one_process_and_a_concurrency_of_one
    system/test_nested_runs.py::test_a_seventeenth_level_is_refused_and_the_parent_fails_cleanly
engine-links [PROTOCOL §4] Sub-runs know where they come from.
    system/test_seed_snippets.py::test_sub_runs_know_where_they_come_from
engine-failures [PROTOCOL §4] A failed item fails nothing but itself, and is counted by its code.
    system/test_seed_snippets.py::test_the_batch_processor_counts_partial_failures
    stepflow_runtime/app/cli/test_run.py::test_a_failed_item_fails_the_run_and_is_counted_by_its_code
engine-idempotency [PROTOCOL §4; FAULTS 25] The same idempotency key gives the same run.
    stepflow_runtime/app/cli/test_server.py::test_the_same_idempotency_key_gives_the_same_run
    stepflow_runtime/services/test_runs.py::test_the_same_key_a_hundred_times_at_once_is_one_run
engine-empty [PROTOCOL §4] A run without inputs is at once a success.
    stepflow_runtime/app/cli/test_run.py::test_no_inputs_are_a_success
engine-cancel [PROTOCOL §4] A cancelled run is waited for; what takes no more inputs says so.
    stepflow_runtime/app/cli/test_server.py::test_a_cancelled_run_is_waited_for
    stepflow_runtime/app/cli/test_server.py::test_a_run_that_was_given_up_takes_no_more_inputs
engine-overrides [PROTOCOL §4] Overrides and variables reach the run.
    stepflow_runtime/app/cli/test_run.py::test_overrides_and_variables_reach_the_run
engine-completion [PROTOCOL §4] Results can be had in the order of completion, each once.
    stepflow_runtime/app/cli/test_server.py::test_results_can_be_had_in_the_order_of_completion
engine-events [PROTOCOL §4] Each event is told once.
    stepflow_runtime/app/cli/test_server.py::test_each_event_is_told_once
compat-published [PROTOCOL §5] Component servers written with stepflow-py 0.7 run unmodified over stdio.
    conformance/test_compatibility.py::test_a_component_is_executed
    conformance/test_compatibility.py::test_blobs_are_put_and_got
    conformance/test_compatibility.py::test_a_flow_is_evaluated
    conformance/test_compatibility.py::test_a_batch_is_evaluated_in_order
    conformance/test_compatibility.py::test_metadata_of_flow_and_step_are_told
    conformance/test_compatibility.py::test_what_a_component_prints_harms_nothing
    stepflow_runtime/services/test_compat.py::test_a_batch_is_submitted_and_got_with_its_outputs
    stepflow_runtime/services/test_compat.py::test_codes_of_items_become_numbers
bad-requests [PROTOCOL §6] Every bad request gets an error with its code, and loses nothing.
    conformance/test_bad_input.py::test_a_flow_that_is_unknown
    conformance/test_bad_input.py::test_params_of_a_wrong_type
    conformance/test_bad_input.py::test_params_that_are_missing
    conformance/test_bad_input.py::test_overrides_of_a_step_that_is_unknown
    conformance/test_bad_input.py::test_a_flow_with_a_cycle
    conformance/test_bad_input.py::test_a_run_that_is_unknown
bad-servers [PROTOCOL §6] A component that is not there, or a server that exits, fails only the items that need it.
    conformance/test_bad_input.py::test_a_component_that_is_not_there_fails_its_items_alone
    conformance/test_bad_input.py::test_a_server_that_exits_when_it_is_called
    conformance/test_bad_input.py::test_a_server_that_exits_at_once
bad-files [FLOWS] A file that is wrong is refused in one sentence, with the place.
    conformance/test_bad_input.py::test_a_flow_file_with_a_key_twice
    conformance/test_bad_input.py::test_a_configuration_with_a_key_twice
    conformance/test_bad_input.py::test_a_flow_file_with_a_cycle
    conformance/test_bad_input.py::test_an_input_that_is_no_json
faults [FAULTS] What guards against a fault has a test that fails without it; `make guards` removes each in turn.
    guards/test_guards.py::test_each_fault_has_a_guard
    guards/test_guards.py::test_a_guard_is_where_the_table_says_and_has_a_test_of_its_fault
    guards/test_guards.py::test_only_a_test_that_ran_and_failed_has_failed
layers [DESIGN, Layout] Sides meet only in `protocol`, layers import downwards, pure modules do no I/O.
    test_layers.py::test_a_contract_is_kept
    test_layers.py::test_a_contract_notices_a_breach
    protocol/test_purity.py::test_a_pure_module_loads_neither_trio_nor_sockets_nor_jsonrpcserver
sdk-snippets [INTERFACES, Components] The seed's three snippets run as they stand there.
    component_sdk/test_seed_snippets.py::test_the_orchestrator_gives_the_results_as_the_wire_has_them
    component_sdk/test_seed_snippets.py::test_the_batch_processor_counts
    component_sdk/test_seed_snippets.py::test_the_async_processor_gets_its_result_later
    system/test_seed_snippets.py::test_the_orchestrator_runs_a_sub_workflow
    system/test_seed_snippets.py::test_the_batch_processor_counts_partial_failures
    system/test_seed_snippets.py::test_the_async_processor_polls_for_completion
sdk-print [INTERFACES, Components; FAULTS 17] `print()` cannot break the wire.
    component_sdk/test_processes.py::test_nothing_that_is_printed_breaks_the_wire
    protocol/test_stdio.py::test_print_cannot_break_a_wire_that_was_moved_off_stdio
sdk-backends [INTERFACES, Components] `async def` runs under trio or asyncio; a plain `def` in a thread, and never blocks the others.
    component_sdk/test_serve.py::test_plain_components_do_not_block_the_others
    component_sdk/test_serve.py::test_asyncio_components_run_under_asyncio_and_are_cancelled
    component_sdk/test_context.py::test_sub_runs_are_submitted_and_read_from_every_backend
sdk-types [INTERFACES, Components] Input and output types come from the hints, and schemas from them.
    component_sdk/test_signature.py::test_every_kind_of_type_is_read_and_described
    component_sdk/test_signature.py::test_input_that_does_not_fit_says_where
sdk-casing [INTERFACES, Components] Inside an output, the wire's shapes are written in the wire's own casing.
    component_sdk/test_signature.py::test_wire_shapes_in_an_output_are_written_in_the_wires_casing
sdk-light [DESIGN, Layout] Importing the SDK is light.
    component_sdk/test_processes.py::test_importing_the_sdk_is_light
sdk-end [PROTOCOL §2] When the connection ends, components are cancelled.
    component_sdk/test_serve.py::test_when_the_connection_ends_components_are_cancelled
sdk-testing [INTERFACES, Components] Components are tested without process and wire.
    component_sdk/test_testing.py::test_components_are_run_as_on_the_wire
    component_sdk/test_testing.py::test_sub_runs_are_computed_by_functions
client-completion [INTERFACES, Scripts] Results come in the order of completion while the run goes on, and nothing is polled.
    component_sdk/test_client.py::test_results_come_in_the_order_of_completion_while_the_run_goes_on
    component_sdk/test_client.py::test_waiting_for_results_polls_nothing
    test_examples.py::test_an_example_gives_what_is_expected
client-value [INTERFACES, Scripts] `return_value` gives the value, or raises what happened.
    component_sdk/test_client.py::test_return_value_is_the_value_of_one_item_and_the_list_of_several
    component_sdk/test_client.py::test_return_value_raises_what_happened
client-redial [INTERFACES, Scripts] A client that loses its connection dials again and goes on waiting.
    component_sdk/test_client.py::test_a_client_that_loses_its_connection_dials_again_and_goes_on_waiting
client-stream [INTERFACES, Scripts] A batch of any size is streamed, and its submission can be repeated.
    component_sdk/test_client.py::test_a_batch_is_streamed_and_repeatable
    component_sdk/test_context.py::test_many_inputs_go_in_several_requests
client-spawn [INTERFACES, Scripts] A script may spawn a runtime of its own, which ends with it.
    component_sdk/test_client.py::test_a_runtime_is_spawned_and_ends_with_the_client
config-errors [FLOWS, Configuration] What cannot be used in a configuration is refused with its place; what is odd is a warning.
    stepflow_runtime/app/test_config.py::test_what_cannot_be_used_is_refused_with_its_place
    stepflow_runtime/app/test_config.py::test_an_unknown_field_is_a_warning_with_its_place
config-precedence [FLOWS, Configuration] The environment goes over the file, and the nearest file wins.
    stepflow_runtime/app/test_config.py::test_the_environment_goes_over_the_file
    stepflow_runtime/app/test_config.py::test_the_nearest_file_wins
cli-exit [INTERFACES, The command line] Exit codes tell what happened; what is wrong is one sentence.
    stepflow_runtime/app/cli/test_run.py::test_what_is_wrong_is_one_sentence_and_exit_code_2
    stepflow_runtime/app/cli/test_server.py::test_without_a_server_the_exit_code_is_3
    stepflow_runtime/app/cli/test_run.py::test_an_interrupted_run_is_cancelled
cli-formats [INTERFACES, The command line] `-o table|json|jsonl` show the same results, digit for digit.
    stepflow_runtime/app/cli/test_run.py::test_the_formats_show_the_same_results
    stepflow_runtime/app/cli/test_run.py::test_numbers_keep_their_digits
cli-serve [INTERFACES, The command line] A runtime serves on TCP and on stdio.
    stepflow_runtime/app/cli/test_server.py::test_a_server_says_where_it_listens_and_ends_at_a_signal
    stepflow_runtime/app/cli/test_server.py::test_a_runtime_serves_on_stdio
cli-runs [INTERFACES, The command line] Runs are submitted, listed, shown, watched, cancelled and deleted.
    stepflow_runtime/app/cli/test_server.py::test_a_submission_shows_its_run
    stepflow_runtime/app/cli/test_server.py::test_runs_are_listed_the_newest_first
    stepflow_runtime/app/cli/test_server.py::test_a_run_and_its_results_are_shown
    stepflow_runtime/app/cli/test_server.py::test_a_watched_run_tells_how_it_ended
    stepflow_runtime/app/cli/test_server.py::test_a_deleted_run_is_gone
cli-flows [INTERFACES, The command line] Flows are validated, shown, drawn and named, with the place of each finding.
    stepflow_runtime/app/cli/test_flows.py::test_findings_have_their_place_in_the_file
    stepflow_runtime/app/cli/test_flows.py::test_a_flow_has_one_id_however_it_is_written
    stepflow_runtime/app/cli/test_flows.py::test_a_flow_is_drawn
flow-types [PROTOCOL §2, §4; FLOWS] What is said never to fit a component never does, what is said to fit always does, and the rest is a warning or counted.
    stepflow_runtime/model/types/test_fitting.py::test_what_fits_always_fits_and_what_misfits_never_does
    stepflow_runtime/model/types/test_fitting.py::test_every_small_schema_fits_every_other_as_is_said
    stepflow_runtime/model/types/test_fitting.py::test_a_type_is_never_narrower_than_its_schema_nor_wider_if_it_is_exact
    stepflow_runtime/model/types/test_inference.py::test_all_that_an_expression_gives_is_of_its_type_and_what_is_sure_to_fail_does
    stepflow_runtime/model/types/test_inference.py::test_every_small_expression_over_every_small_type_gives_what_is_said
    stepflow_runtime/model/types/test_flow_types.py::test_what_does_not_fit_is_told_with_its_place
    stepflow_runtime/model/types/test_flow_types.py::test_what_nobody_declared_is_quiet_and_counted
    stepflow_runtime/app/cli/test_flows.py::test_types_are_inferred_through_the_components_and_misfits_have_their_lines
console-flow-types [INTERFACES] The page of a flow shows what its steps are given and give, and what does not fit.
    stepflow_runtime/web/test_console.py::test_the_page_of_a_flow_shows_what_its_steps_take_and_give
flow-types-bounds [FAULTS 39] Types of schemas and flows that grow without end are found in bounded time, and what is beyond is unknown.
    stepflow_runtime/model/types/test_fitting.py::test_a_schema_that_grows_without_end_is_read_in_bounds
    stepflow_runtime/model/types/test_flow_types.py::test_types_that_double_with_every_step_stay_small
    stepflow_runtime/model/types/test_flow_types.py::test_of_very_many_steps_the_last_are_unknown
infer-schema [PROTOCOL §2] A component infers its output from the schema of its input; one that cannot counts with what it declares.
    component_sdk/test_serve.py::test_what_a_component_gives_may_be_inferred_from_what_it_is_given
    component_sdk/test_serve.py::test_fields_with_defaults_are_declared_as_written_in_outputs_and_as_optional_in_inputs
    stepflow_runtime/connect/test_builtins.py::test_built_in_components_infer_what_they_give
    stepflow_runtime/services/test_flow_types.py::test_a_component_that_cannot_infer_is_asked_once_and_what_it_declares_counts
    conformance/test_bad_input.py::test_components_that_say_nothing_have_unknown_types
cli-flows-builder [INTERFACES, The command line] A flow is written as Python code that builds it, with the same id.
    stepflow_runtime/model/test_builder_code.py::test_every_flow_comes_back_from_its_code
    stepflow_runtime/model/test_builder_code.py::test_every_example_comes_back_from_its_code
    stepflow_runtime/app/cli/test_flows.py::test_a_flow_is_written_as_python_that_gives_the_same_flow
cli-test [INTERFACES, The command line] `stepflow test` runs the cases in flow files, and can update them.
    stepflow_runtime/app/cli/test_cases.py::test_cases_pass_or_fail_by_their_outputs
    stepflow_runtime/app/cli/test_cases.py::test_update_changes_the_outputs_and_nothing_else
cli-doctor [INTERFACES, The command line] The doctor names each problem.
    stepflow_runtime/app/cli/test_house.py::test_the_doctor_finds_nothing_where_all_is_well
    stepflow_runtime/app/cli/test_house.py::test_the_doctor_names_each_problem
    stepflow_runtime/app/cli/test_house.py::test_the_doctor_names_a_database_that_cannot_be_used_and_leaves_it_alone
cli-light [DESIGN, Libraries] `--help` and completion import nothing heavy.
    stepflow_runtime/app/cli/test_house.py::test_version_and_help_import_nothing_heavy
    stepflow_runtime/app/cli/test_house.py::test_completion_of_commands_imports_nothing_heavy
ops-drain [FAULTS 6] SIGTERM lets what is in flight end and takes nothing new; the rest goes on at the next start.
    operations/test_drain.py::test_what_is_in_flight_may_end_and_nothing_new_begins
    operations/test_drain.py::test_an_execution_that_waits_for_a_sub_run_holds_no_drain_up
    operations/test_drain.py::test_a_drain_ends_after_its_time
    operations/test_drain.py::test_a_runtime_on_stdio_drains_too_and_answers_who_waits
    stepflow_runtime/connect/test_pool.py::test_a_drain_waits_for_what_is_in_flight_and_not_for_what_nobody_wants
    stepflow_runtime/engine/test_executor.py::test_a_runtime_that_drains_begins_no_item
ops-force [FAULTS 6] A second SIGTERM or SIGINT stops at once.
    operations/test_drain.py::test_a_second_signal_stops_at_once
    operations/test_drain.py::test_a_second_signal_stops_a_runtime_on_stdio_at_once
ops-stubborn [FAULTS 6] A runtime that stops leaves no process, not even of a server that stops for nothing.
    operations/test_drain.py::test_a_server_that_stops_for_nothing_is_killed_with_all_that_it_started
ops-checkpoint [FAULTS 6] A runtime that stopped has everything in the database file alone.
    operations/test_drain.py::test_a_runtime_that_stopped_has_all_in_the_database_file
token-file [PROTOCOL §1; FAULTS 35] Tokens lie in a file that only its owner may read, several are valid at once, and a changed file counts at once.
    stepflow_runtime/connect/test_tokens.py::test_tokens_rotate_without_a_gap_and_without_a_restart
    stepflow_runtime/connect/test_tokens.py::test_a_file_that_cannot_be_used_is_refused_and_no_token_is_told
    stepflow_runtime/connect/test_tokens.py::test_a_file_that_cannot_be_used_any_more_lets_nobody_in_until_it_can
    stepflow_runtime/connect/test_tokens.py::test_every_known_token_is_compared_in_constant_time
token-taken-back [PROTOCOL §1; FAULTS 35] Who came in with a token that is gone, or is for something else now, is shut out.
    stepflow_runtime/connect/test_tokens.py::test_who_came_in_with_a_token_that_is_taken_back_is_shut_out_and_others_stay
    stepflow_runtime/connect/test_tokens.py::test_a_file_that_cannot_be_used_any_more_lets_nobody_in_until_it_can
token-first [FAULTS 35] Where tokens are asked for, `connect` with a valid one is the first frame, within 5 s and 4 KiB, or nothing is handled.
    stepflow_runtime/connect/test_tokens.py::test_without_a_valid_token_nothing_is_handled_and_no_log_tells_it
    stepflow_runtime/connect/test_tokens.py::test_no_more_than_so_many_wait_at_the_door
    stepflow_runtime/connect/test_tokens.py::test_bytes_that_are_no_message_end_the_connection
    stepflow_runtime/connect/test_tokens.py::test_who_says_nothing_is_shut_out_in_time
    stepflow_runtime/app/test_access.py::test_a_script_comes_in_with_its_token_file_and_not_without
token-role [PROTOCOL §1] A token is for one role, and a server's for one name; a read-only one changes nothing.
    stepflow_runtime/connect/test_tokens.py::test_a_server_may_not_take_another_name_or_role
    stepflow_runtime/connect/test_tokens.py::test_a_peer_that_is_in_cannot_become_something_else
    stepflow_runtime/app/test_access.py::test_a_reader_reads_and_changes_nothing
    stepflow_runtime/app/test_access.py::test_every_method_that_may_change_something_is_closed_to_readers
tls [FAULTS 35] TLS checks both sides as configured, and nothing is ever said in plain text instead.
    stepflow_runtime/connect/test_tls.py::test_a_peer_that_does_not_trust_the_certificate_does_not_talk
    stepflow_runtime/connect/test_tls.py::test_a_certificate_must_name_the_host
    stepflow_runtime/connect/test_tls.py::test_with_mtls_only_known_peers_come_in
    stepflow_runtime/connect/test_tls.py::test_plain_text_gets_nowhere_where_tls_is_spoken
    stepflow_runtime/connect/test_tls.py::test_a_server_that_speaks_no_tls_is_not_talked_to_in_plain_text
    stepflow_runtime/app/test_access.py::test_clients_talk_over_tls_with_a_certificate_of_theirs
loopback [FAULTS 35] Other machines come in only over TLS and with a token; else neither the runtime nor a component server listens.
    system/test_guarded_servers.py::test_a_server_does_not_listen_for_other_machines_without_a_token_and_tls
    stepflow_runtime/connect/test_tls.py::test_other_machines_come_in_only_over_tls_and_with_a_token
    stepflow_runtime/app/test_config.py::test_tokens_and_tls_stay_when_the_address_comes_from_elsewhere
unix-socket [PROTOCOL §1] A Unix socket can be connected to by its owner only.
    stepflow_runtime/connect/test_tokens.py::test_a_unix_socket_is_its_owners_and_asks_for_tokens_too
    stepflow_runtime/connect/test_tokens.py::test_a_stale_unix_socket_is_replaced_and_one_in_use_is_not
visibility [FAULTS 36] A server sees the trees in which it executes and what its plugin submitted; anything else is not found, as if absent.
    stepflow_runtime/app/test_visibility.py::test_a_run_of_another_tree_is_not_found_like_one_that_is_absent
    stepflow_runtime/app/test_visibility.py::test_a_server_sees_the_tree_that_it_executes_in_and_no_longer
    stepflow_runtime/app/test_visibility.py::test_a_server_sees_what_its_plugin_submitted_whatever_it_executes
    stepflow_runtime/app/test_visibility.py::test_a_submission_is_not_linked_to_a_run_that_its_server_does_not_see
    stepflow_runtime/app/test_visibility.py::test_every_method_that_names_a_run_is_tried
stale-writes [FAULTS 36] An execution that is no longer current writes nothing, by no method.
    stepflow_runtime/app/test_visibility.py::test_an_execution_that_has_ended_writes_nothing
ops-db-check [FAULTS 32] `stepflow db check` folds every journal, verifies every blob, and tells what does not fit together; nothing is changed.
    operations/test_db.py::test_a_sound_database_is_well_and_stays_as_it_is
    operations/test_db.py::test_a_database_is_checked_while_a_runtime_serves
    operations/test_db.py::test_what_does_not_fit_together_is_told
    operations/test_db.py::test_damaged_pages_are_told
    operations/test_db.py::test_a_snapshot_is_compared_with_the_journal
    operations/test_db.py::test_a_database_that_is_not_ours_is_refused_and_left_alone
    operations/test_db.py::test_a_database_that_another_program_has_locked_is_left_alone_and_told_of
ops-db-backup [FAULTS 32] `stepflow db backup` copies while a runtime serves; the copy is whole, or not there.
    operations/test_db.py::test_a_backup_is_whole_while_a_runtime_serves_and_goes_on_by_itself
    operations/test_db.py::test_a_backup_that_is_made_under_load_is_of_one_moment_and_goes_on_from_there
    operations/test_db.py::test_a_backup_that_fails_leaves_nothing_behind
ops-db-migrate [FAULTS 32] A database of the first release is migrated, and its runs go on.
    operations/test_db.py::test_a_database_of_the_first_release_is_migrated
    operations/test_db.py::test_runs_of_the_first_release_go_on_in_this_one
    operations/test_db.py::test_a_database_that_a_runtime_has_is_not_migrated
ops-retention [FAULTS 29] Runs that ended long ago are deleted by age; what is young or goes on stays.
    operations/test_retention.py::test_old_runs_are_deleted_and_young_or_unfinished_ones_stay
    operations/test_retention.py::test_ages_are_read_and_nothing_is_deleted_by_mistake
ops-gc [FAULTS 30] `stepflow db gc` removes no blob that a run can reach, none that was put lately, and none under a runtime that serves.
    operations/test_retention.py::test_nothing_goes_that_a_run_can_reach
    operations/test_retention.py::test_when_its_runs_are_deleted_a_flow_goes_too
    operations/test_retention.py::test_what_was_put_lately_stays_and_putting_it_again_makes_it_so
    operations/test_retention.py::test_a_runtime_that_serves_loses_nothing
    operations/test_retention.py::test_names_are_found_wherever_they_stand
ops-upkeep [FAULTS 30] A runtime that is told to removes old runs and unreachable blobs by itself, and nothing that comes to be used meanwhile.
    stepflow_runtime/app/test_upkeep.py::test_what_is_old_goes_and_a_flow_that_is_ready_to_run_stays
    stepflow_runtime/app/test_upkeep.py::test_without_being_told_nothing_goes
    stepflow_runtime/store/test_collecting.py::test_what_no_run_can_reach_goes_and_what_was_put_lately_stays
    stepflow_runtime/store/test_collecting.py::test_what_comes_to_be_used_while_it_is_looked_for_stays
    stepflow_runtime/store/test_collecting.py::test_what_is_spared_stays_and_what_is_read_while_it_goes_is_put_again
    stepflow_runtime/store/test_collecting.py::test_what_is_named_in_the_very_transaction_of_its_removal_stays
ops-every-write [FAULTS 29] ENOSPC or EIO at any write: what was acknowledged is there, and it goes on later.
    operations/test_full_disk.py::test_whichever_write_fails_what_is_acknowledged_is_there
ops-full-disk [FAULTS 29] On a full disk submissions fail and say why; running work waits, and goes on later.
    operations/test_full_disk.py::test_a_full_disk_refuses_submissions_and_running_work_waits_and_goes_on
    operations/test_full_disk.py::test_a_component_that_needs_the_full_disk_waits_and_its_sub_run_is_made_once
ops-leftovers [FAULTS 6] After kill -9 of the runtime nothing that its servers started outlives the next start, with setpriv and without.
    operations/test_leftovers.py::test_the_next_start_kills_what_a_killed_runtime_left
    operations/test_leftovers.py::test_only_what_carries_the_name_is_killed
store-power [FAULTS 34] Every commit is synced to the disk, so that what was acknowledged survives a loss of power.
    stepflow_runtime/store/test_power.py::test_every_commit_is_synced_unless_something_else_is_asked_for
docs-durability [INTERFACES] What the page on durability shows runs, and the tests that it names are there.
    test_pages.py::test_each_command_of_a_page_does_what_the_page_says
    operations/test_durability_page.py::test_the_tests_that_it_names_are_there
ops-unclean [PROTOCOL §6; FAULTS 5] What takes the runtime down each time starts alone after two unclean stops, and is failed after five.
    operations/test_unclean_stops.py::test_only_the_culprit_fails
    operations/test_unclean_stops.py::test_suspects_start_one_at_a_time
    operations/test_unclean_stops.py::test_who_has_its_turn_is_spared_if_work_that_was_hardly_suspect_goes_on_beside_it
    operations/test_unclean_stops.py::test_a_culprit_is_found_though_there_is_always_other_work
    operations/test_unclean_stops.py::test_who_is_least_suspect_has_its_turn_first
    operations/test_unclean_stops.py::test_what_gets_on_is_no_longer_suspect
    operations/test_unclean_stops.py::test_who_only_waits_for_a_sub_run_is_no_suspect
    operations/test_unclean_stops.py::test_the_innocent_sub_run_of_a_culprit_is_spared
    operations/test_unclean_stops.py::test_an_orderly_stop_blames_nobody
    operations/test_unclean_stops.py::test_a_component_that_kills_the_runtime_each_time_is_failed_and_its_parent_learns_of_it
secrets [FAULTS G9, 40] A secret variable is given by reference, reaches components as its value, and shows nowhere else: no store, log, event, result, error, page, HTTP answer, trace or metric.
    system/test_canary.py::test_a_planted_secret_shows_in_no_sink
    stepflow_runtime/connect/test_pool.py::test_a_secret_is_put_in_on_the_wire_and_taken_out_of_the_error_that_quotes_it
    stepflow_runtime/connect/test_pool.py::test_a_secret_that_has_lost_its_value_fails_the_step_and_nothing_is_sent
    stepflow_runtime/connect/test_stdio.py::test_secrets_are_scrubbed_from_the_last_words_before_they_are_cut
    stepflow_runtime/connect/test_pool.py::test_why_a_server_was_lost_is_told_without_the_secret_that_it_quotes
    stepflow_runtime/app/test_secrets.py::test_what_was_looked_up_is_scrubbed_however_it_is_quoted
    stepflow_runtime/app/test_secrets.py::test_what_a_cut_has_left_of_a_secret_is_scrubbed
    stepflow_runtime/model/test_secret.py::test_what_tokens_stand_for_outlives_the_runtime_and_older_journals_have_none
    stepflow_runtime/model/test_variable.py::test_a_secret_is_there_as_its_token_and_not_checked_as_a_value
    stepflow_runtime/app/test_config.py::test_secrets_say_where_they_are_and_never_what
secret-sources [FLOWS, Execution] What a flow of a component server names is read from the environment only if it is meant for flows.
    stepflow_runtime/app/test_visibility.py::test_a_server_has_no_environment_variable_read_that_is_not_meant_for_flows
    stepflow_runtime/app/test_secrets.py::test_a_flow_from_anywhere_has_only_those_variables_read_that_are_meant_for_flows
    stepflow_runtime/app/test_secrets.py::test_a_value_is_found_in_the_configuration_then_where_the_flow_says_then_by_its_name
opaque-data [FAULTS 37] Data that look like an expression, or like the token of another run's secret, stay data.
    stepflow_runtime/model/test_expression.py::test_what_data_hold_is_never_read_as_an_expression
    stepflow_runtime/model/test_expression.py::test_a_literal_stands_unread
    stepflow_runtime/connect/test_pool.py::test_a_token_in_the_data_of_another_run_stays_a_token
    stepflow_runtime/model/test_secret.py::test_a_token_that_means_nothing_in_this_run_stays_as_it_is
children [FAULTS 43] A component server gets an allow-listed environment, no descriptors, a session of its own, and the limits that are configured.
    stepflow_runtime/connect/test_stdio.py::test_a_process_inherits_no_descriptors
    stepflow_runtime/connect/test_stdio.py::test_a_process_sees_only_the_environment_that_is_allowed
    stepflow_runtime/connect/test_stdio.py::test_a_process_has_a_session_and_a_group_of_its_own
    stepflow_runtime/connect/test_stdio.py::test_a_process_keeps_to_its_limits
private-files [FAULTS 43] The data directory is 0700 and its files 0600; a configuration that others can write is refused.
    stepflow_runtime/store/test_sqlite.py::test_file_and_folder_are_for_the_owner_alone
    stepflow_runtime/app/test_config.py::test_a_file_that_others_can_write_is_refused
    stepflow_runtime/app/test_config.py::test_a_group_with_others_in_it_may_not_write
hostile-door [FAULTS 35] No bytes get past the door without a token, and none break it.
    stepflow_runtime/connect/test_tokens.py::test_no_bytes_get_past_the_door_or_break_it
    stepflow_runtime/connect/test_tokens.py::test_no_text_of_a_token_file_does_harm
one-connection [FAULTS 10] No bytes of one peer, and no defect that they find, end anything but its connection.
    protocol/test_messages.py::test_a_line_whose_keys_are_no_utf8_is_no_message_and_harms_nothing
    stepflow_runtime/connect/test_tokens.py::test_bytes_that_are_no_message_end_the_connection
    stepflow_runtime/connect/test_sockets.py::test_a_defect_that_one_connection_meets_ends_that_one_alone
hostile-schemas [FAULTS 39] A check against a schema that could go on for ever is not begun, and the error names `maxSchemaSteps`; patterns are bounded.
    stepflow_runtime/model/test_schema.py::test_a_check_that_would_not_end_is_not_begun
    test_limits.py::test_what_checking_against_a_schema_may_take_is_configured_and_named_wherever_it_is_hit
    stepflow_runtime/model/test_schema.py::test_what_ends_soon_is_checked
    stepflow_runtime/model/test_schema.py::test_what_is_wrong_is_told_briefly_where_telling_it_would_take_long
    stepflow_runtime/model/test_schema.py::test_a_schema_that_never_goes_into_the_value_is_refused
    stepflow_runtime/model/test_schema.py::test_a_text_that_takes_a_pattern_too_long_does_not_match
fuzz [FAULTS 10, 38, 39, 42] Whatever the bytes are: the wire, params, JSON, YAML, configurations, paths, patches, expressions, flows, schemas and HTTP requests are read or refused as declared.
    fuzz/test_fuzz.py::test_whatever_the_bytes_are_they_are_read_or_refused
    fuzz/test_fuzz.py::test_what_found_something_finds_nothing_any_more_and_takes_little_memory
    fuzz/test_fuzz.py::test_a_broken_promise_is_found
nesting-at-any-limit [PROTOCOL §4; FAULTS 20, 22] A wait of an execution is never refused and holds no payload, so runs nest with one slot, one request and one wait a connection.
    protocol/test_handling.py::test_a_wait_that_others_hang_on_is_never_refused_and_counts_all_the_same
    protocol/test_handling.py::test_params_that_were_let_go_of_are_not_held_and_do_not_count
    system/test_nested_runs.py::test_sixteen_levels_end_with_one_process_and_a_concurrency_of_one
recursion-bomb [PROTOCOL §7; FAULTS 23] A run that goes on submitting itself is stopped with a typed error at the depth limit, and its parents fail cleanly.
    system/test_nested_runs.py::test_a_seventeenth_level_is_refused_and_the_parent_fails_cleanly
flat-memory [DESIGN, Journal and ports; FAULTS 21] Four times the items take no more memory: a run needs what is in flight, not its length.
    system/test_memory.py::test_four_times_the_items_take_no_more_memory
    stepflow_runtime/engine/test_executor.py::test_a_long_run_holds_a_window_of_its_inputs
slow-events [PROTOCOL §4; FAULTS 19] Events are read by pages from where the reader stopped: a slow reader holds nothing and misses nothing.
    stepflow_runtime/services/test_listing.py::test_pages_of_events_join
    protocol/test_link.py::test_a_peer_that_does_not_read_loses_the_connection
hostile-flows [FAULTS 39] Nested or backtracking schemas, patches that double themselves, and endless paths are bounded.
    stepflow_runtime/model/test_schema.py::test_a_pattern_that_backtracks_takes_no_time
    stepflow_runtime/model/test_schema.py::test_a_pattern_or_a_nesting_that_is_too_large_is_refused
    stepflow_runtime/model/test_schema.py::test_a_schema_that_refers_to_itself_ends
    stepflow_runtime/model/test_patch.py::test_copies_that_double_what_is_there_are_bounded
    stepflow_runtime/model/test_path.py::test_a_long_path_is_read_at_once_and_not_repeated_when_it_is_bad
guarded-servers [PROTOCOL §1] Component servers are dialled, and dial in, over TLS and with tokens.
    system/test_guarded_servers.py::test_a_server_that_listens_asks_for_a_certificate_and_a_token
    system/test_guarded_servers.py::test_a_server_dials_in_over_tls_with_the_token_for_its_name
listening-server [PROTOCOL §1; FAULTS 35] A component server that listens lets in who shows its token in the first line, within 5 s and 4 KiB; all else reaches nothing.
    component_sdk/test_listening.py::test_who_shows_the_token_is_served
    component_sdk/test_listening.py::test_before_the_token_nothing_is_answered_and_little_is_read
    component_sdk/test_listening.py::test_who_says_nothing_is_shut_out_in_time
    component_sdk/test_listening.py::test_no_more_than_so_many_wait_to_be_let_in
    component_sdk/test_listening.py::test_a_defect_that_a_connection_meets_ends_it_alone
security-page [DESIGN] The examples of the page on security can be used, and its promises are those of this table.
    stepflow_runtime/app/test_access.py::test_the_examples_of_the_page_on_security_can_be_used
    stepflow_runtime/app/test_access.py::test_the_page_on_security_names_promises_that_there_are
simulation-schedules [FAULTS 33] Each time of a schedule has one run, whatever fails; none is missing unless a clock was set.
    simulation/test_timetable.py::test_each_time_of_a_schedule_fires_once_whatever_fails
    simulation/test_timetable.py::test_a_time_that_fires_twice_is_found
engine-clock-set-back [FAULTS 33] A clock that is set back delays no run that has no delay.
    stepflow_runtime/engine/test_waiting_runs.py::test_a_clock_that_is_set_back_delays_no_run
simulation [FAULTS G1-G4, G7, G8] In a thousand simulated worlds full of crashes, torn connections, full disks and set clocks, nothing is lost, nothing is done twice, nothing is left behind, and everything ends; planted defects are found.
    simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails
    simulation/test_simulation.py::test_a_seed_that_found_something_finds_nothing_any_more
    simulation/test_simulation.py::test_every_planted_defect_is_found
    simulation/test_simulation.py::test_a_seed_decides_everything
job-order [PROTOCOL §4] The runs of a job go in order, and the first that does not succeed stops the rest.
    stepflow_runtime/services/automation/test_jobs.py::test_the_runs_of_a_job_go_in_order
    stepflow_runtime/services/automation/test_jobs.py::test_a_failure_stops_the_rest
    stepflow_runtime/services/automation/test_jobs.py::test_a_run_that_somebody_cancels_stops_its_job
job-frozen [PROTOCOL §4] A job is frozen when it is submitted, and refused whole if one of its runs would be.
    stepflow_runtime/services/automation/test_jobs.py::test_a_job_is_frozen_when_it_is_submitted
    stepflow_runtime/services/automation/test_jobs.py::test_a_job_of_which_one_run_is_refused_does_nothing
job-durable [PROTOCOL §4; FAULTS 1] A job goes on after any death of the runtime, and makes no run twice.
    stepflow_runtime/services/automation/test_jobs.py::test_another_runtime_goes_on_with_a_job
    stepflow_runtime/services/automation/test_jobs.py::test_while_the_disk_is_full_a_job_waits
    simulation/test_jobs.py::test_a_job_does_what_it_promises_whatever_fails
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
    crash/test_refused_writes.py::test_whichever_write_is_refused_the_work_is_done_once
job-key [PROTOCOL §4] The same idempotency key with the same runs gives the first job; with others it is refused.
    stepflow_runtime/services/automation/test_jobs.py::test_the_same_idempotency_key_gives_the_first_job
job-cancel [PROTOCOL §4] A cancelled job ends with the run that it is at; one that has ended does not change.
    stepflow_runtime/services/automation/test_jobs.py::test_a_cancelled_job_ends_with_the_run_that_it_is_at
job-runs [PROTOCOL §4] Runs are listed by their job.
    contracts/test_store_registry.py::test_runs_are_found_by_their_job
    stepflow_runtime/services/automation/test_jobs.py::test_runs_are_listed_by_their_job
webhook-outbox [PROTOCOL §4] A delivery is written with the event that it is of: a committed event is told, at least once.
    contracts/test_store_registry.py::test_deliveries_are_written_with_the_events_that_they_are_of
    stepflow_runtime/services/automation/test_webhooks.py::test_an_event_and_its_deliveries_are_one_write
    stepflow_runtime/services/automation/test_webhooks.py::test_another_runtime_goes_on_delivering
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
webhook-idle [PROTOCOL §4] While nobody wants an event, nothing is written for it.
    stepflow_runtime/services/automation/test_webhooks.py::test_while_nobody_wants_it_nothing_is_written
webhook-signed [PROTOCOL §4] Deliveries are signed after Standard Webhooks.
    stepflow_runtime/services/automation/test_webhooks.py::test_the_official_library_accepts_our_signatures
    stepflow_runtime/services/automation/test_webhooks.py::test_the_end_of_a_run_is_told_once_and_signed
    component_sdk/test_automation.py::test_a_job_tells_a_webhook_of_each_of_its_runs
webhook-retry [PROTOCOL §4] A delivery is tried again under the same id, given up at last and kept; a slow receiver keeps no other waiting.
    stepflow_runtime/services/automation/test_webhooks.py::test_a_delivery_is_tried_again_with_the_same_id
    stepflow_runtime/services/automation/test_webhooks.py::test_a_delivery_that_never_arrives_is_given_up_and_kept
    stepflow_runtime/services/automation/test_webhooks.py::test_a_slow_receiver_keeps_no_other_waiting
webhook-ssrf [FAULTS 41] A delivery goes only where it may: every address is judged at each connection, the judged one is used, and nothing is followed.
    stepflow_runtime/connect/test_destinations.py::test_what_only_we_can_reach_is_refused
    stepflow_runtime/connect/test_http_sender.py::test_a_name_is_judged_by_all_that_it_stands_for
    stepflow_runtime/connect/test_http_sender.py::test_the_connection_goes_to_the_address_that_was_judged
    stepflow_runtime/connect/test_http_sender.py::test_odd_ways_to_write_an_address_are_judged_as_what_they_stand_for
    stepflow_runtime/connect/test_http_sender.py::test_the_certificate_must_be_for_the_name
    stepflow_runtime/connect/test_http_sender.py::test_a_delivery_that_is_not_accepted_has_failed
    stepflow_runtime/connect/test_http_sender.py::test_a_url_that_is_never_sent_to_is_refused
webhook-bounded [FAULTS 41] A receiver takes neither time nor memory without end.
    stepflow_runtime/connect/test_http_sender.py::test_a_receiver_that_does_not_answer_is_given_up_in_time
    stepflow_runtime/connect/test_http_sender.py::test_of_an_answer_that_never_ends_only_the_status_is_read
webhook-secret [FAULTS 40] The secret of a webhook is told once, and lies sealed in the database.
    system/test_canary.py::test_a_planted_secret_shows_in_no_sink
    component_sdk/test_automation.py::test_the_key_that_seals_secrets_lies_beside_the_database_for_its_owner_alone
webhook-sight [FAULTS 36] A component server is told of its plugin's runs only, and sees its plugin's webhooks only.
    stepflow_runtime/services/automation/test_webhooks.py::test_a_component_server_is_told_of_its_own_runs_and_sees_its_own_webhooks
schedule-zones [PROTOCOL §4] Schedules follow the clock of their zone, also when it is put forward or back.
    stepflow_runtime/services/automation/test_schedules.py::test_times_follow_the_clock_of_their_zone
    stepflow_runtime/services/automation/test_schedules.py::test_a_time_in_the_hour_that_is_left_out_fires_right_after_it
    stepflow_runtime/services/automation/test_schedules.py::test_a_time_in_the_hour_that_comes_twice_fires_once
schedule-once [FAULTS 33] Each time of a schedule fires once, whatever the clock and the runtime do.
    stepflow_runtime/services/automation/test_schedules.py::test_a_clock_that_jumps_fires_no_time_twice
    stepflow_runtime/services/automation/test_schedules.py::test_a_death_around_a_firing_loses_and_doubles_none
schedule-overlap [PROTOCOL §4] When the run before has not ended, a time is left out, queued, or cancels it.
    stepflow_runtime/services/automation/test_schedules.py::test_a_run_that_has_not_ended_has_the_next_one_left_out
    stepflow_runtime/services/automation/test_schedules.py::test_times_queue_up_behind_a_run_that_has_not_ended
    stepflow_runtime/services/automation/test_schedules.py::test_the_next_run_cancels_the_one_before
schedule-catch-up [PROTOCOL §4] Times that were missed are made up for within the window, and no others.
    stepflow_runtime/services/automation/test_schedules.py::test_a_runtime_that_was_away_makes_up_for_the_times_in_its_window
    stepflow_runtime/services/automation/test_schedules.py::test_all_times_in_the_window_are_made_up_for_in_a_queue
automation-refused [PROTOCOL §6] Jobs, schedules and webhooks that cannot be are refused, each with its code, and change nothing.
    conformance/test_bad_input.py::test_jobs_schedules_and_webhooks_that_cannot_be
clock-jumps [FAULTS 33] Whatever the wall clock does, no attempt is made twice.
    stepflow_runtime/engine/test_run_state.py::test_no_attempt_is_made_twice_when_the_clock_is_set_back_over_a_restart
    simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails
clock-pause [FAULTS 33] After a pause of the machine each timer fires once; a wall clock that is set moves none.
    stepflow_runtime/engine/test_timers.py::test_after_a_pause_of_an_hour_each_timer_fires_once_in_order
    stepflow_runtime/engine/test_timers.py::test_a_wall_clock_that_is_set_moves_no_timer
left-wait [FAULTS 24] A client that waits for a run and leaves frees all that waited for it; the run goes on.
    system/test_leaving_clients.py::test_runs_go_on_when_who_waits_for_them_leaves_and_waiters_are_freed
refused-wait [PROTOCOL §7] A wait that is refused because too many wait leaves no run behind.
    stepflow_runtime/services/test_runs.py::test_a_wait_that_is_refused_leaves_no_run_behind
waiting-slots [FAULTS 22] What goes alone, and what ignores its cancellation, does not take the slot that its sub-runs need.
    stepflow_runtime/connect/test_pool.py::test_a_child_goes_alone_on_the_process_where_its_parked_parent_went_alone
    stepflow_runtime/connect/test_pool.py::test_what_is_cancelled_while_it_waits_takes_its_slot_when_the_wait_is_over
batch-sent [PROTOCOL §2] A batch holds one step of one run and one slot; it goes when full, in time, or when nobody can join.
    stepflow_runtime/connect/test_batches.py::test_a_batch_that_is_full_is_sent_at_once_and_the_rest_waits
    stepflow_runtime/connect/test_batches.py::test_a_batch_that_is_not_full_is_sent_when_the_first_has_waited_long_enough
    stepflow_runtime/connect/test_batches.py::test_nobody_is_waited_for_when_nobody_else_can_join
    stepflow_runtime/connect/test_batches.py::test_steps_and_runs_are_not_mixed
    stepflow_runtime/connect/test_batches.py::test_a_batch_takes_one_slot_and_is_joined_until_it_is_sent
batch-entries [PROTOCOL §2] Each entry of a batch has its own result, retry and cancellation.
    stepflow_runtime/connect/test_batches.py::test_entries_that_failed_fail_alone
    stepflow_runtime/connect/test_batches.py::test_a_batch_goes_on_without_a_cancelled_entry_whose_answer_counts_no_more
    stepflow_runtime/connect/test_batches.py::test_a_batch_is_cancelled_with_its_last_entry_and_only_once
    component_sdk/test_batch.py::test_an_exception_among_the_outputs_is_the_end_of_its_entry_alone
    system/test_batched_components.py::test_a_batched_component_gives_what_a_single_one_gives
batch-broken [PROTOCOL §2] A missing or surplus entry ends the connection.
    stepflow_runtime/connect/test_batches.py::test_a_missing_or_a_surplus_entry_ends_the_connection
    system/test_batched_components.py::test_a_server_written_by_hand_takes_batches_and_is_lost_if_it_forgets_an_entry
batch-declared [PROTOCOL §1] Batches go only to servers that declared them, and fit their frames.
    stepflow_runtime/connect/test_batches.py::test_a_server_that_did_not_declare_batches_gets_calls
    stepflow_runtime/connect/test_batches.py::test_calls_that_would_not_fit_into_one_frame_are_split
batch-killed [PROTOCOL §6; FAULTS 3] Who kills the process of a batch is found alone, and the others of the batch are spared.
    system/test_batched_components.py::test_who_kills_the_process_of_a_batch_is_found_alone_and_the_others_are_spared
    stepflow_runtime/connect/test_batches.py::test_what_goes_alone_is_in_no_batch
stream-read [PROTOCOL §4; FAULTS 19] A stream is read from any index, negative ones counted from the tail, live and afterwards, by many.
    stepflow_runtime/services/byproducts/test_streams.py::test_a_stream_is_read_from_any_index
    stepflow_runtime/services/byproducts/test_streams.py::test_readers_that_wait_are_woken_by_the_commit_of_a_chunk
    stepflow_runtime/services/byproducts/test_streams.py::test_an_answer_holds_what_fits_a_frame_and_at_least_one_chunk
    component_sdk/test_streams.py::test_a_reader_goes_on_after_what_it_has
    conformance/test_bad_byproducts.py::test_a_read_past_the_end_of_an_ended_run
stream-write [PROTOCOL §4] Several writers, JSON or base64 digit for digit, answered when durable, many in one commit.
    stepflow_runtime/services/byproducts/test_streams.py::test_several_executions_write_to_one_stream_in_the_order_of_their_answers
    stepflow_runtime/services/byproducts/test_streams.py::test_chunks_are_read_as_they_were_written_digit_for_digit
    stepflow_runtime/services/byproducts/test_streams.py::test_a_write_is_answered_when_it_is_durable_and_not_before
    stepflow_runtime/services/byproducts/test_streams.py::test_writes_of_many_executions_in_one_turn_go_in_one_commit
    component_sdk/test_streams.py::test_what_is_written_in_one_tick_goes_in_one_request_in_its_order
stream-once [PROTOCOL §4; FAULTS 1] A step that is executed again doubles no chunk, with a writeKey and without.
    stepflow_runtime/services/byproducts/test_streams.py::test_a_step_that_is_executed_again_doubles_nothing
    stepflow_runtime/services/byproducts/test_streams.py::test_the_same_write_key_of_the_same_step_writes_once
    stepflow_runtime/services/byproducts/test_streams.py::test_a_keyed_write_is_found_again_while_it_is_on_its_way_and_after_the_end
    contracts/test_store_byproducts.py::test_byproducts_that_are_written_again_because_their_answer_was_lost_are_there_once
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
stream-clients [PROTOCOL §4] Clients write to the streams of a run that goes on, trio and blocking; what is sent again is not doubled.
    component_sdk/test_run.py::test_a_client_writes_to_its_streams_beside_its_components
    component_sdk/test_run.py::test_a_blocking_client_writes_too
    component_sdk/test_repeating.py::test_a_request_that_is_repeated_says_that_it_is_the_same
client-repeats [INTERFACES] What a client asked for when its connection was lost is asked again, and done once.
    component_sdk/test_repeating.py::test_a_request_that_is_repeated_says_that_it_is_the_same
made-once [PROTOCOL §4] A schedule or webhook that is asked for again under one request id is there once, whatever happened in between.
    stepflow_runtime/services/automation/test_schedules.py::test_a_schedule_that_is_asked_for_again_is_there_once
    simulation/test_timetable.py::test_each_time_of_a_schedule_fires_once_whatever_fails
    stepflow_runtime/services/automation/test_webhooks.py::test_a_webhook_that_is_asked_for_again_is_there_once_with_its_secret
    conformance/test_bad_input.py::test_a_request_id_that_was_used_for_something_else
fake-runs [INTERFACES] All that a handle on a run can do can be done to a run of FakeRuntime.
    component_sdk/test_testing.py::test_all_that_a_handle_can_do_can_be_done_to_a_fake_run
stream-end [PROTOCOL §4] A run's streams close when it ends; afterwards reading replays, then is done.
    stepflow_runtime/services/byproducts/test_streams.py::test_the_end_of_a_run_ends_its_streams_for_readers_then_and_afterwards
    stepflow_runtime/services/byproducts/test_streams.py::test_nothing_is_written_to_a_closed_stream_or_an_ended_run
stream-current [PROTOCOL §2; FAULTS 28, 36] A stale execution writes nothing, and nobody to a run that it may not see.
    stepflow_runtime/services/byproducts/test_streams.py::test_an_execution_that_is_no_longer_current_writes_nothing
    stepflow_runtime/services/byproducts/test_streams.py::test_a_component_writes_and_reads_only_what_it_may_see
    conformance/test_bad_byproducts.py::test_an_execution_that_is_not_current
stream-limits [PROTOCOL §6] Limits of streams, checkpoints and artifacts are configured, and named when they are passed.
    stepflow_runtime/services/byproducts/test_streams.py::test_a_limit_is_named_when_it_is_passed_and_nothing_is_written
    stepflow_runtime/services/byproducts/test_streams.py::test_a_run_has_so_many_streams_and_no_more
    stepflow_runtime/services/byproducts/test_checkpoints.py::test_limits_are_named
    conformance/test_bad_byproducts.py::test_a_write_beyond_a_limit
checkpoint-first [PROTOCOL §4] The first value that is written for a step, item and key stays, for attempts and restarts.
    stepflow_runtime/services/byproducts/test_checkpoints.py::test_the_first_value_wins_and_a_look_changes_nothing
    stepflow_runtime/services/byproducts/test_checkpoints.py::test_of_two_that_write_at_once_one_wins_and_both_hear_the_same
    stepflow_runtime/services/byproducts/test_checkpoints.py::test_a_checkpoint_is_found_by_the_next_attempt_of_its_step_and_by_no_other
    stepflow_runtime/services/byproducts/test_checkpoints.py::test_a_checkpoint_outlives_the_runtime
    component_sdk/test_streams.py::test_a_checkpoint_is_computed_once_and_read_as_its_type
artifacts [PROTOCOL §4] Artifacts name blobs of a run, also binary ones; they are there once, and go with the run.
    stepflow_runtime/services/byproducts/test_artifacts.py::test_an_artifact_tells_what_it_is
    stepflow_runtime/services/byproducts/test_artifacts.py::test_a_step_that_is_executed_again_puts_nothing_twice
    contracts/test_store_byproducts.py::test_byproducts_are_deleted_with_their_run
    operations/test_byproducts.py::test_a_blob_that_an_artifact_or_a_chunk_names_is_kept_until_the_run_is_deleted
no-action [PROTOCOL §4] A run of which every item took no action says noActionTaken.
    stepflow_runtime/services/test_no_action.py::test_a_run_took_no_action_when_every_item_took_none
    stepflow_runtime/services/test_no_action.py::test_an_item_took_no_action_when_every_step_of_it_took_none
events-tree [PROTOCOL §4] runs/events with includeSubRuns tells all that happens beneath a run, in order, live, with cursors.
    stepflow_runtime/services/events/test_tree.py::test_events_of_all_runs_beneath_come_once_each_in_the_order_of_their_commits
    stepflow_runtime/services/events/test_tree.py::test_who_follows_is_woken_by_a_commit_of_a_sub_run_and_is_done_when_all_have_ended
    stepflow_runtime/services/events/test_tree.py::test_after_a_restart_a_cursor_goes_on_where_it_was
http-guard [FAULTS 42] Over HTTP only our own `Host` is answered, a page of another site changes nothing, no script but ours runs in a page, and bodies are bounded.
    stepflow_runtime/web/test_web.py::test_a_host_that_is_not_ours_is_refused
    stepflow_runtime/web/test_web.py::test_a_page_of_another_site_changes_nothing
    stepflow_runtime/web/test_web.py::test_our_own_page_may
    stepflow_runtime/web/test_web.py::test_a_body_that_does_not_come_is_not_waited_for
    stepflow_runtime/web/test_web.py::test_no_script_but_ours_runs_in_a_page
    stepflow_runtime/web/test_web.py::test_a_body_beyond_the_limit_is_refused
    stepflow_runtime/web/test_console.py::test_a_form_of_another_site_changes_nothing
http-sessions [FAULTS 42] A browser signs in once with a token; its cookie is for our pages alone; who only reads changes nothing.
    stepflow_runtime/web/test_web.py::test_where_tokens_are_asked_for_nothing_is_told_without_one
    stepflow_runtime/web/test_console.py::test_a_browser_signs_in_once_and_out_again
    stepflow_runtime/web/test_console.py::test_after_signing_in_one_stays_here
    stepflow_runtime/web/test_console.py::test_who_only_reads_sees_no_buttons_and_changes_nothing
console-escapes [FAULTS 42] Names, labels, inputs, outputs, errors and streams are text in the console, and its policy lets nothing else run.
    stepflow_runtime/web/test_console.py::test_what_others_wrote_is_text_on_every_page
    stepflow_runtime/web/test_console.py::test_a_page_has_a_policy_under_which_nothing_else_would_run
    stepflow_runtime/web/test_browser.py::test_nothing_that_somebody_named_runs_in_the_page
console [INTERFACES] The console shows runs live, their graph, items, timeline, tree, events, streams and artifacts, and cancels and resumes them.
    stepflow_runtime/web/test_browser.py::test_the_list_of_runs_fills_itself_and_is_filtered
    stepflow_runtime/web/test_browser.py::test_a_run_shows_its_counts_its_graph_and_its_items
    stepflow_runtime/web/test_browser.py::test_a_run_is_followed_as_it_goes_and_cancelled_with_a_reason
    stepflow_runtime/web/test_browser.py::test_who_is_asked_answers_with_a_form_made_from_the_schema
    stepflow_runtime/web/test_browser.py::test_every_page_fits_its_window_and_has_landmarks
console-readable [INTERFACES] Every page of the console fits a telephone, names all that one can use, is used by the keyboard, and stands out from its ground in light and dark.
    stepflow_runtime/web/test_browser.py::test_every_page_fits_its_window_and_has_landmarks
    stepflow_runtime/web/console/test_colours.py::test_text_stands_out_from_what_it_is_on
console-cached [INTERFACES] A browser asks for the console's style and scripts once, until they change.
    stepflow_runtime/web/test_console.py::test_style_and_scripts_are_asked_for_once_until_they_change
console-filters [INTERFACES] The console's runs are filtered by status, flow, label, id and when they were created, and paged.
    stepflow_runtime/web/test_console.py::test_runs_are_filtered_and_paged
console-large [FAULTS 21] The first page of a run of 100,000 items takes under 300 ms, and its grid reaches the last.
    stepflow_runtime/web/test_browser.py::test_the_first_page_of_a_large_run_is_quick_and_its_grid_scrolls
    stepflow_runtime/web/test_observing.py::test_each_item_has_its_letter
http-follow [PROTOCOL §4] Streams and events are followed over HTTP, and a reader that lost its connection misses and repeats none.
    stepflow_runtime/web/test_following.py::test_a_reader_that_lost_its_connection_goes_on_after_what_it_has
    stepflow_runtime/web/test_following.py::test_events_come_once_each_wherever_a_reader_was_interrupted
    stepflow_runtime/web/test_following.py::test_a_browser_that_has_all_is_told_to_stop
http-artifacts [FAULTS 42] Artifacts go up and down over HTTP byte for byte, and are never a page of ours.
    stepflow_runtime/web/test_artifacts.py::test_a_file_goes_up_and_comes_down_byte_for_byte
    stepflow_runtime/web/test_artifacts.py::test_a_page_that_a_run_made_is_never_a_page_of_ours
    stepflow_runtime/web/test_artifacts.py::test_pictures_and_text_are_shown_in_a_sandbox
signed-links [FAULTS 42] A signed link needs no token, leads to one artifact only, cannot be changed, and expires.
    stepflow_runtime/web/test_artifacts.py::test_a_signed_link_needs_no_token_and_leads_to_one_artifact_only
    stepflow_runtime/web/test_artifacts.py::test_a_signed_link_expires
hooks [PROTOCOL §4] Who POSTs to the hook of a token resumes what is suspended under it, once, and may wait for the answer.
    stepflow_runtime/web/test_hooks.py::test_a_hook_resumes_a_run_and_tells_little
    stepflow_runtime/web/test_hooks.py::test_a_hook_can_wait_for_the_answer_of_the_run
    stepflow_runtime/web/test_hooks.py::test_only_a_post_with_the_token_resumes
    stepflow_runtime/web/test_hooks.py::test_of_two_posts_one_resumes_and_a_repeat_is_given_its_answer
servers-list [INTERFACES] servers/list tells how each component server is: its load, its process, why it went, its stderr.
    stepflow_runtime/connect/test_supervisor.py::test_it_tells_how_its_servers_are
    stepflow_runtime/connect/test_supervisor.py::test_a_server_that_cannot_be_opened_is_down
examples [INTERFACES] Each example does what its README says; the README's quickstart runs.
    test_examples.py::test_an_example_gives_what_is_expected
    test_readme.py::test_the_first_command_prints_the_total
    test_readme.py::test_the_script_prints_a_line_for_each_item
handle-facts [INTERFACES] A handle on a run has all that is known of it, blocking or not; get_run looks nothing up before it is asked.
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
    component_sdk/test_run.py::test_a_blocking_handle_looks_up_what_it_is_asked
    component_sdk/test_run.py::test_the_blocking_face_lacks_nothing
    component_sdk/test_client.py::test_a_handle_is_not_looked_up_before_something_is_asked
handle-errors [INTERFACES] What went wrong with a run is an error of its own kind, with its run_id and its cause.
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
    component_sdk/test_run.py::test_a_handle_on_a_run_that_is_not_there_says_so_when_it_is_asked
handle-typed [INTERFACES] return_value(type) reads what a run gave as that type, or says where it is none.
    component_sdk/test_run.py::test_what_a_run_gave_is_read_as_a_type
vocabularies [INTERFACES] Statuses are told in the words of three other systems: status.as_() and --vocabulary; the tables are total.
    protocol/test_vocabulary.py::test_each_vocabulary_has_a_word_for_each_status_and_for_no_other
    protocol/test_vocabulary.py::test_each_word_is_theirs_and_each_of_theirs_is_said
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
created-by [PROTOCOL §4; FAULTS 36] createdBy tells who submitted a run; what a client calls itself opens nothing.
    component_sdk/test_run.py::test_a_run_tells_who_submitted_it
    stepflow_runtime/app/test_visibility.py::test_a_client_that_is_called_like_a_plugin_shows_its_runs_to_nobody
    stepflow_runtime/app/cli/test_server.py::test_a_run_tells_its_step_its_labels_and_who_submitted_it
list-stable [PROTOCOL §4] runs/list is filtered, and its cursors are stable: runs that come while pages are read move none.
    stepflow_runtime/services/test_listing.py::test_runs_that_come_while_pages_are_read_move_none
    stepflow_runtime/services/test_listing.py::test_runs_are_found_by_what_they_are
    stepflow_runtime/services/test_listing.py::test_a_cursor_of_runs_that_is_none_is_refused
    stepflow_runtime/app/cli/test_server.py::test_runs_are_found_by_when_they_were_created
bad-control [PROTOCOL §6] Bad input about a run has its code and changes nothing, not even the end of its journal.
    conformance/test_nothing_changes.py::test_a_run_that_is_unknown
    conformance/test_nothing_changes.py::test_a_resume_of_what_is_not_suspended
    conformance/test_nothing_changes.py::test_a_resume_with_data_against_the_schema
    conformance/test_nothing_changes.py::test_a_wake_up_with_nothing_asleep
    conformance/test_nothing_changes.py::test_reading_past_the_end
    conformance/test_nothing_changes.py::test_time_travel_while_a_run_goes_on
    conformance/test_nothing_changes.py::test_time_travel_to_where_nothing_is
compatibility [INTERFACES] What other systems name is in a table: what it is here, and the tests that show it.
    test_compatibility.py::test_what_is_there_is_shown_by_tests_that_exist
    test_compatibility.py::test_what_is_named_exists_blocking_and_not
    test_compatibility.py::test_every_word_for_a_status_has_a_line
example-agent [INTERFACES] An agent loop whose server is killed in the middle repeats no turn.
    test_examples.py::test_an_agent_whose_server_is_killed_repeats_no_turn
suspend-top [PROTOCOL §4] A suspended step leaves its process and is executed again from its top with all that it was resumed with.
    stepflow_runtime/engine/test_suspension.py::test_a_suspended_step_is_executed_again_with_what_it_was_resumed_with
    stepflow_runtime/engine/test_suspension.py::test_several_suspensions_of_a_component_follow_on_each_other
    test_pages.py::test_each_command_of_a_page_does_what_the_page_says
suspend-slot [PROTOCOL §4] Suspended and sleeping items give their slot back, and take one again before what has not begun.
    stepflow_runtime/engine/test_suspension.py::test_suspended_items_give_their_slots_back_and_resumed_ones_wait_for_one
    stepflow_runtime/engine/test_suspension.py::test_sleepers_whose_time_has_come_wait_for_slots
    stepflow_runtime/engine/test_run_properties.py::test_a_run_keeps_its_promises
suspend-status [PROTOCOL §4] A run of which nothing goes on and something waits is suspended, awaitingInput, and tells what waits; settled waits end.
    stepflow_runtime/engine/test_waiting_runs.py::test_a_suspended_run_tells_what_it_waits_for_and_goes_on
    stepflow_runtime/engine/test_waiting_runs.py::test_a_submission_that_waits_until_the_run_has_settled_is_answered
    stepflow_runtime/engine/test_waiting_runs.py::test_items_and_steps_show_what_waits
suspend-restart [PROTOCOL §4] What waits, sleeps, is delayed or paused survives restarts.
    stepflow_runtime/engine/test_waiting_runs.py::test_what_waits_survives_restarts
    stepflow_runtime/engine/test_waiting_runs.py::test_a_pause_outlives_the_runtime
waiting-cancelled [PROTOCOL §4] What items did that were cancelled while they waited is known afterwards, and re-used when they go again, however many there are.
    stepflow_runtime/services/test_cancelled_while_waiting.py::test_steps_of_cancelled_items_are_listed
    stepflow_runtime/services/test_cancelled_while_waiting.py::test_what_had_succeeded_is_not_executed_again
    stepflow_runtime/engine/test_suspension.py::test_many_parked_items_are_cancelled_by_one_event
resume-once [PROTOCOL §4; FAULTS 27] Of two resumes one wins and the other is -32016; the same requestId is done once.
    stepflow_runtime/engine/test_suspension.py::test_of_two_resumes_one_wins
    stepflow_runtime/engine/test_waiting_runs.py::test_of_two_resumes_at_once_one_wins_and_the_other_is_told_so
    stepflow_runtime/engine/test_waiting_runs.py::test_a_repeated_request_is_of_the_same_suspension
    conformance/test_waiting.py::test_a_second_resume_is_told_so
    stepflow_runtime/engine/test_suspension.py::test_of_two_resumes_one_wins_also_while_another_step_of_the_item_works
resume-which [PROTOCOL §4] A resume that means nothing, or several, is -32015 and lists what is suspended; nothing changes.
    conformance/test_waiting.py::test_what_is_not_suspended_is_not_resumed
    conformance/test_waiting.py::test_several_suspensions_are_listed
resume-schema [PROTOCOL §4] Data that does not fit the schema is -32017 and leaves the run suspended.
    conformance/test_waiting.py::test_data_that_does_not_fit_leaves_the_run_suspended
resume-token [PROTOCOL §4] A token alone suffices, and is unique while it is active.
    stepflow_runtime/engine/test_waiting_runs.py::test_a_token_alone_suffices
    stepflow_runtime/engine/test_waiting_runs.py::test_a_token_is_unique_while_it_is_active
    conformance/test_waiting.py::test_a_token_under_which_nothing_waits
fork-keeps [PROTOCOL §4] Restart and time travel make a fork and never alter the original; items that do not travel keep their results and indexes.
    stepflow_runtime/services/test_forking.py::test_what_failed_goes_again_from_where_it_stopped_and_the_rest_is_kept
    stepflow_runtime/services/test_forking.py::test_items_that_do_not_travel_keep_their_results_and_indexes
    stepflow_runtime/services/test_fork_properties.py::test_forks_that_change_nothing_give_the_same
    simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails
    conformance/test_forking.py::test_a_fork_names_its_origin_and_keeps_what_did_not_travel
fork-reuse [PROTOCOL §4] Re-used is every recorded step that is neither the one travelled to nor depends on it.
    stepflow_runtime/services/test_forking.py::test_time_travel_executes_the_step_and_what_depends_on_it
    stepflow_runtime/services/test_forking.py::test_a_branch_that_an_item_did_not_take_is_not_executed_for_it
    stepflow_runtime/services/test_fork_properties.py::test_forks_that_change_nothing_give_the_same
fork-cost [PROTOCOL §4] A fork stores what is new in it: neither inputs nor results of items that it keeps.
    stepflow_runtime/services/test_forking.py::test_a_fork_of_a_large_run_stores_only_what_is_new
fork-forks [PROTOCOL §4] A fork of a fork reads through all of them, by index and by completion.
    stepflow_runtime/services/test_forking.py::test_a_fork_of_a_fork_reads_through_all_of_them
travel-given [PROTOCOL §4] input is what the step is executed with, context gives results that were not recorded, resumeData answers the last suspension.
    stepflow_runtime/services/test_forking.py::test_input_replaces_what_the_step_is_executed_with
    stepflow_runtime/services/test_forking.py::test_context_gives_results_that_were_never_recorded
    stepflow_runtime/services/test_forking.py::test_resume_data_answers_the_last_suspension_of_the_step
    stepflow_runtime/services/test_forking.py::test_a_suspended_run_can_be_travelled_and_goes_on_itself
travel-checks [PROTOCOL §4] Before a travel only items are looked at of which it is not known that they can; others have their turn meanwhile.
    stepflow_runtime/services/test_forking.py::test_items_that_succeeded_are_not_read_again_before_a_travel
    stepflow_runtime/services/test_forking.py::test_others_have_their_turn_while_a_long_travel_is_checked
    stepflow_runtime/services/test_fork_properties.py::test_what_is_not_looked_at_before_a_travel_would_not_be_refused
    stepflow_runtime/engine/test_plan.py::test_a_plan_is_plain_if_no_data_decides_which_steps_are_needed
travel-refused [PROTOCOL §4] An unknown run, step or item, a missing predecessor, a run that still runs: refused before anything happens.
    stepflow_runtime/services/test_forking.py::test_what_cannot_be_is_refused_and_changes_nothing
    stepflow_runtime/services/test_forking.py::test_a_run_that_still_runs_is_not_travelled
    stepflow_runtime/services/test_forking.py::test_a_missing_predecessor_is_named_with_its_item
    conformance/test_forking.py::test_bad_input_has_its_code_and_changes_nothing
restart-live [PROTOCOL §4] Restarting a run that has not ended has its active steps go again as the next attempt.
    stepflow_runtime/services/test_forking.py::test_the_active_steps_of_a_run_go_again_as_the_next_attempt
    stepflow_runtime/services/test_forking.py::test_a_step_that_waits_to_be_tried_again_goes_at_once
restart-ended [PROTOCOL §4] Restarting an ended run re-uses what succeeded; only: failed leaves cancelled items as they are.
    stepflow_runtime/services/test_forking.py::test_cancelled_items_go_again_unless_only_failed_ones_are_meant
    stepflow_runtime/services/test_forking.py::test_a_step_whose_failure_was_replaced_by_its_default_goes_again
    stepflow_runtime/services/test_forking.py::test_a_restart_of_what_succeeded_ends_at_once_with_the_same_results
again-once [PROTOCOL §4; FAULTS 1] A restart or travel that is repeated under its requestId gives the first one's run, also after a death; something else under that id is refused.
    stepflow_runtime/services/test_fork_requests.py::test_who_repeats_a_request_is_given_the_fork_that_it_made
    stepflow_runtime/services/test_fork_requests.py::test_of_many_at_once_one_makes_the_fork
    stepflow_runtime/services/test_fork_requests.py::test_something_else_under_the_same_id_is_refused_and_makes_nothing
    stepflow_runtime/services/test_fork_requests.py::test_what_went_again_in_the_run_itself_makes_no_fork_when_that_has_ended_since
    stepflow_runtime/services/test_fork_requests.py::test_the_next_runtime_knows_what_was_made
    component_sdk/test_repeating.py::test_a_request_that_is_repeated_says_that_it_is_the_same
    conformance/test_forking.py::test_a_repeated_request_gives_the_first_fork_and_another_under_its_id_is_refused
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
    simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails
fork-needs [PROTOCOL §4] A run is not deleted while a fork needs it, and nothing is forked from a run that is gone.
    contracts/test_store_forks.py::test_a_run_is_not_deleted_while_a_fork_needs_it
    contracts/test_store_forks.py::test_nothing_is_forked_from_a_run_that_is_gone
    stepflow_runtime/app/test_upkeep.py::test_a_run_and_what_it_names_stay_while_a_fork_needs_them
    stepflow_runtime/services/test_forking.py::test_a_run_is_deleted_after_its_forks
    conformance/test_forking.py::test_a_run_is_not_deleted_before_its_forks
fork-survives [PROTOCOL §4; FAULTS 1] A fork goes on after a death at any write, suspended or not.
    stepflow_runtime/services/test_forking.py::test_a_fork_goes_on_in_the_next_runtime
    stepflow_runtime/services/test_forking.py::test_a_suspended_fork_is_resumed_in_the_next_runtime
    crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once
resume-no-retry [PROTOCOL §4] Resumes are no retries: attempts grow, budgets do not shrink.
    stepflow_runtime/engine/test_suspension.py::test_resumes_are_no_retries
suspend-timeout [PROTOCOL §4] A suspension that nobody ends in time fails its step with TIMEOUT, for good.
    stepflow_runtime/engine/test_suspension.py::test_a_suspension_that_nobody_ends_in_time_fails_its_step_for_good
    stepflow_runtime/engine/test_suspension.py::test_the_default_of_a_step_stands_in_for_an_answer_that_did_not_come
suspend-cancel [PROTOCOL §4] Cancelling ends suspensions and sleeps.
    stepflow_runtime/engine/test_suspension.py::test_cancelling_ends_suspensions_and_sleeps
    stepflow_runtime/engine/test_waiting_runs.py::test_cancelling_a_suspended_run_ends_it
sleep-durable [PROTOCOL §4] Sleepers hold nothing and go on when it is time, also after a restart; wakeUp counts those it ends.
    stepflow_runtime/engine/test_suspension.py::test_a_sleeping_item_holds_no_slot_and_goes_on_when_it_is_time
    stepflow_runtime/engine/test_suspension.py::test_woken_sleepers_go_on_before_their_time
    conformance/test_waiting.py::test_sleepers_sleep_and_are_woken
    conformance/test_waiting.py::test_nothing_that_sleeps_is_no_error
run-delay [PROTOCOL §4] A run begins at its delayUntil.
    stepflow_runtime/engine/test_waiting_runs.py::test_a_delayed_run_begins_when_it_is_to
run-pause [PROTOCOL §4] A paused run begins no step; what is in flight ends, and what is resumed or due meanwhile begins afterwards.
    stepflow_runtime/engine/test_suspension.py::test_a_paused_run_begins_nothing_and_what_is_in_flight_ends
    stepflow_runtime/engine/test_suspension.py::test_what_is_resumed_due_or_retried_while_a_run_is_paused_begins_afterwards
    conformance/test_waiting.py::test_a_paused_run_begins_nothing
mcp-tools [FLOWS; DESIGN] The tools of an MCP server, on stdio or over HTTP, are components with their schemas; a published one is called unmodified.
    stepflow_runtime/connect/mcp/test_mcp.py::test_the_tools_of_a_server_are_components_with_their_schemas
    stepflow_runtime/connect/mcp/test_mcp.py::test_a_structured_result_is_the_output_and_any_other_comes_as_content
    stepflow_runtime/connect/mcp/test_mcp.py::test_a_published_server_is_called_from_a_flow_unmodified
    stepflow_runtime/connect/mcp/test_mcp.py::test_a_server_over_http_is_used_and_found_again
mcp-faults [FLOWS; PROTOCOL §6] Errors, time-outs, cancellation and restarts of MCP servers are those of other component servers.
    stepflow_runtime/connect/mcp/test_mcp.py::test_errors_say_who_is_to_blame
    stepflow_runtime/connect/mcp/test_mcp.py::test_a_server_that_dies_is_started_again_and_the_step_goes_again
    stepflow_runtime/connect/mcp/test_mcp.py::test_a_time_out_cancels_the_call_in_the_server
    stepflow_runtime/connect/mcp/test_mcp.py::test_what_is_no_mcp_server_is_told_with_its_stderr
mcp-optional [DESIGN] MCP is an extra, which is imported only where it is configured.
    stepflow_runtime/connect/mcp/test_mcp.py::test_without_the_extra_the_configuration_says_what_to_install
metrics-true [DESIGN] What /metrics counts is what is durable, once, also over restarts and forks; counting costs nothing per item.
    stepflow_runtime/web/test_metrics.py::test_it_counts_what_happened_and_after_a_restart_goes_on_where_runs_are
    stepflow_runtime/web/test_metrics.py::test_items_that_a_fork_takes_over_are_counted_once
    stepflow_runtime/web/test_metrics.py::test_all_of_the_catalogue_is_told_with_its_kind_and_a_sentence
    stepflow_runtime/web/test_metrics.py::test_names_are_those_that_prometheus_asks_for
metrics-components [DESIGN] /metrics tells how long components take and how often they fail, and requests by method and error, under a bounded number of names.
    stepflow_runtime/connect/test_pool.py::test_how_long_executions_took_is_told_of_all_that_were_sent_together
    stepflow_runtime/connect/test_pool.py::test_components_beyond_the_first_hundred_are_told_of_together
    stepflow_runtime/web/test_metrics.py::test_requests_are_counted_by_how_they_were_answered_under_names_that_peers_do_not_choose
    protocol/test_handling.py::test_each_request_is_told_with_its_error_and_without_what_it_waited_for
metrics-dashboard [DESIGN] The dashboard and the alerts ask for metrics that there are, by labels that they have.
    deploy/test_monitoring.py::test_what_is_asked_for_is_measured
    deploy/test_monitoring.py::test_every_metric_of_the_runtime_is_on_the_dashboard
    stepflow_runtime/web/test_metrics.py::test_it_counts_what_happened_and_after_a_restart_goes_on_where_runs_are
watch-terminal [DESIGN] A run can be watched in a terminal of any size, with or without colours, at a cost that does not grow with the run.
    stepflow_runtime/app/cli/test_run_screen.py::test_it_fits_every_terminal
    stepflow_runtime/app/cli/test_run_screen.py::test_what_colours_say_marks_say_too_and_ascii_is_enough
    stepflow_runtime/app/cli/test_run_screen.py::test_only_what_may_have_changed_is_asked_for_and_little_at_a_time
    stepflow_runtime/app/cli/test_run_screen.py::test_failures_are_looked_up_once_and_no_more_than_are_shown
    component_sdk/test_observing.py::test_states_of_items_and_component_servers_are_told
deploy-image [DESIGN] The image and the compose file name what there is, and what they start works, not as root, and drains on SIGTERM.
    deploy/test_image.py::test_what_the_image_is_made_of_is_there_and_sent_to_the_builder
    deploy/test_image.py::test_the_image_runs_as_nobody_in_particular_and_is_stopped_and_watched_as_it_should_be
    deploy/test_image.py::test_a_container_has_longer_to_stop_than_a_runtime_takes_to_drain
    deploy/test_image.py::test_what_the_compose_file_starts_works_together_and_stops_on_sigterm
http-openapi [DESIGN] /openapi.json is a valid OpenAPI 3.1 document of every route and, for /rpc, of every method.
    stepflow_runtime/web/test_openapi.py::test_it_is_valid_and_the_one_that_is_served
    stepflow_runtime/web/test_openapi.py::test_each_route_is_in_it_and_nothing_else
    stepflow_runtime/web/test_openapi.py::test_each_method_can_be_called_with_its_params_and_says_its_result
trace-one [PROTOCOL §2] One trace goes from a submission through its sub-runs into their components.
    stepflow_runtime/app/test_tracing.py::test_three_levels_of_runs_are_one_trace_into_their_components
    stepflow_runtime/app/test_tracing.py::test_a_trace_that_comes_with_a_submission_is_continued
    stepflow_runtime/app/test_tracing.py::test_a_trace_that_comes_with_an_http_request_is_continued
    stepflow_runtime/app/test_tracing.py::test_a_traceparent_is_read_as_w3c_says
    stepflow_runtime/app/test_tracing.py::test_a_trace_that_is_not_sampled_sends_nothing_and_is_passed_on
trace-off [DESIGN] Telemetry is an extra: without it nothing is told, and a collector that is away hinders nobody.
    stepflow_runtime/app/test_tracing.py::test_without_telemetry_components_are_told_of_no_trace
    stepflow_runtime/app/test_tracing.py::test_a_collector_that_is_away_hinders_nobody
    stepflow_runtime/app/test_tracing.py::test_without_the_extra_the_configuration_says_what_to_install
dev-reload [DESIGN] `stepflow dev` starts a component server anew when its files change; runs go on, and no retries are used up.
    stepflow_runtime/app/cli/test_reload.py::test_what_was_being_executed_goes_again_with_the_new_code
    stepflow_runtime/app/cli/test_reload.py::test_a_module_beside_the_server_belongs_to_it_and_other_files_do_not
    stepflow_runtime/connect/test_keeper.py::test_the_next_server_is_ready_before_the_old_one_ends
    stepflow_runtime/connect/test_keeper.py::test_what_ends_soon_may_end_where_it_is
    stepflow_runtime/connect/test_keeper.py::test_what_does_not_end_in_time_goes_again_and_has_not_failed
    stepflow_runtime/engine/test_run_state.py::test_a_server_that_gives_way_to_another_costs_no_retries
dev-reload-broken [DESIGN] Code that does not start is shown with its error, and the server that was there goes on.
    stepflow_runtime/app/cli/test_reload.py::test_code_that_does_not_start_is_shown_and_the_old_goes_on
    stepflow_runtime/connect/test_keeper.py::test_the_old_server_goes_on_when_the_new_one_does_not_start
new-project [DESIGN] `stepflow new` makes a component server with a flow, tests and types that pass; it overwrites nothing.
    stepflow_runtime/app/cli/test_new.py::test_what_it_makes_passes_what_its_readme_says
    stepflow_runtime/app/cli/test_new.py::test_what_it_makes_is_in_good_form
    stepflow_runtime/app/cli/test_new.py::test_a_folder_that_holds_something_is_left_alone
record-replay [DESIGN] A run that was recorded is replayed without a runtime, against changed components and a changed flow; what differs is shown per item and step.
    stepflow_runtime/app/cli/test_record.py::test_a_recording_holds_what_was_asked_and_answered_and_nothing_that_changes
    stepflow_runtime/app/cli/test_record.py::test_what_has_not_changed_does_the_same
    stepflow_runtime/app/cli/test_record.py::test_what_has_changed_is_shown_per_item_and_step
    stepflow_runtime/app/cli/test_record.py::test_a_changed_flow_shows_what_becomes_of_each_item
    stepflow_runtime/app/cli/test_record.py::test_blobs_and_streams_are_as_they_were
    stepflow_runtime/app/cli/test_record.py::test_what_is_written_to_streams_and_blobs_is_compared
stream-writers [PROTOCOL §4] Who reads a stream is told, if it asks, which step wrote each chunk.
    stepflow_runtime/services/byproducts/test_streams.py::test_who_asks_is_told_which_step_wrote_a_chunk
record-stale [DESIGN] What a recording says nothing about is named, and what to do.
    stepflow_runtime/app/cli/test_record.py::test_what_a_recording_says_nothing_about_is_named
    stepflow_runtime/app/cli/test_record.py::test_a_step_that_calls_something_else_is_told_to_be_unknown
    stepflow_runtime/app/cli/test_record.py::test_a_file_that_is_no_recording_says_how_to_make_one
flow-errors [INTERFACES] What is wrong in a flow is told with file, line and column, the line itself, and what to do, by whatever reads flows.
    stepflow_runtime/app/cli/test_flows.py::test_what_is_wrong_is_quoted_and_says_what_to_do
    stepflow_runtime/app/cli/test_flows.py::test_what_is_merely_odd_is_quoted_too
    stepflow_runtime/app/cli/test_run.py::test_what_is_wrong_in_overrides_is_quoted
    stepflow_runtime/model/test_override.py::test_an_issue_names_its_place_in_the_overrides_or_in_the_flow
schema-files [PROTOCOL] The protocol is published as JSON Schema and OpenRPC files, which say what the code does.
    protocol/test_schema_files.py::test_a_file_is_current
    protocol/test_schema_files.py::test_what_the_runtime_sends_fits_the_published_schema
    protocol/test_schema_files.py::test_every_method_is_published
"""

REQUIREMENTS: Final = tuple(read_table(TABLE))
