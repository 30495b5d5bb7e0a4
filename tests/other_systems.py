"""What the documents of other systems name, one table for each; `compatibility` says how they are read."""

from __future__ import annotations

from typing import Final

WORKFLOW_RUN: Final = """
`getRun(runId)`
    = `client.get_run(id)`: a handle; nothing is looked up before something is asked
    component_sdk/test_client.py::test_a_handle_is_not_looked_up_before_something_is_asked
    component_sdk/test_run.py::test_a_handle_on_a_run_that_is_not_there_says_so_when_it_is_asked
`getRun<TResult>()`, a typed result
    = `run.return_value(type)`
    component_sdk/test_run.py::test_what_a_run_gave_is_read_as_a_type
run ids, `wrun_{ulid}`
    = UUIDv7, which sort by time too; to clients they mean nothing
    stepflow_runtime/app/cli/test_server.py::test_a_submission_shows_its_run
`run.runId`
    = `run.id`
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
`await run.status`
    = `run.status`; the blocking handle looks it up, the trio one has what `run.refresh()` saw last. In their words: `run.status.as_("workflow")`
    component_sdk/test_run.py::test_a_blocking_handle_looks_up_what_it_is_asked
    protocol/test_vocabulary.py::test_each_word_is_theirs_and_each_of_theirs_is_said
status `pending`
    = `pending`
    component_sdk/test_run.py::test_a_run_that_has_not_begun_is_pending_and_then_it_runs
status `running`
    = `running`, and `suspended`
    component_sdk/test_run.py::test_a_run_that_has_not_begun_is_pending_and_then_it_runs
    protocol/test_vocabulary.py::test_each_word_is_theirs_and_each_of_theirs_is_said
status `completed`
    = `success`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
status `failed`
    = `failed`
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
status `cancelled`
    = `cancelled`
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
`await run.returnValue`
    = `run.return_value()`: waits, without polling; of one item its value, of several the list by index
    component_sdk/test_client.py::test_return_value_is_the_value_of_one_item_and_the_list_of_several
    component_sdk/test_client.py::test_waiting_for_results_polls_nothing
`run.workflowName`
    = `run.flow_name`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
`run.createdAt`, `run.startedAt`, `run.completedAt`
    = `run.created_at`, `run.started_at`, `run.completed_at`: `datetime` in UTC, `None` where it has not come to that
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
    component_sdk/test_client.py::test_a_handle_is_not_looked_up_before_something_is_asked
`completedAt.getTime() - startedAt.getTime()`
    = `run.completed_at - run.started_at`: a `timedelta`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
`run.readable`
    = `run.stream()`: an iterator; leaving it costs nothing
    component_sdk/test_run.py::test_its_stream_is_read_from_any_index_live_and_afterwards
`run.getReadable({namespace})`
    = `run.stream("progress")`
    stepflow_runtime/services/byproducts/test_streams.py::test_streams_of_other_names_are_apart_and_listed
    test_examples.py::test_an_example_gives_what_is_expected
`run.getReadable({startIndex})`
    = `run.stream(start_index=100)`; negative ones count from the end
    component_sdk/test_run.py::test_its_stream_is_read_from_any_index_live_and_afterwards
    stepflow_runtime/services/byproducts/test_streams.py::test_a_stream_is_read_from_any_index
`run.getReadable({ops, global})`
    = Nothing: the client's connection ends with its `with` block, and types are given to `run.stream(type=)`
several streams, each with a reader
    = one iterator for each; any number of them
    stepflow_runtime/services/byproducts/test_streams.py::test_readers_that_wait_are_woken_by_the_commit_of_a_chunk
`reader.read()` → `{done, value}`
    = the iterator's next element, and its end
    component_sdk/test_streams.py::test_a_reader_goes_on_after_what_it_has
`reader.releaseLock()`
    = Nothing: a reader locks nothing
`sleep()` in a workflow
    = `await ctx.sleep(duration)`, `ctx.sleep(until=)`, or a step `/builtin/sleep`: it survives restarts
    component_sdk/test_run.py::test_sleeps_are_ended_early
    stepflow_runtime/engine/test_waiting_runs.py::test_what_waits_survives_restarts
`run.wakeUp(options)` → `StopSleepResult`
    = `run.wake_up(correlation_ids)` → how many sleeps it ended
    component_sdk/test_run.py::test_sleeps_are_ended_early
    stepflow_runtime/engine/test_waiting_runs.py::test_an_execution_that_sleeps_is_woken_by_its_correlation_id
    conformance/test_nothing_changes.py::test_a_wake_up_with_nothing_asleep
`run.cancel()`
    = `run.cancel(reason, grace_s=)`: answers when the run has ended
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
`WorkflowRunFailedError`: `runId`, `workflowError.message`, `workflowError.stack`
    = `RunFailedError`: `run_id`, `cause.message`, `cause.data["stack"]`, and `cause.code`
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
`WorkflowRunCancelledError`: `runId`
    = `RunCancelledError`: `run_id`
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
`WorkflowRunNotFoundError`: `runId`
    = `RunNotFoundError`: `run_id`, `cause`
    component_sdk/test_run.py::test_a_handle_on_a_run_that_is_not_there_says_so_when_it_is_asked
`WorkflowRunFailedError.is(error)`, `WorkflowRunCancelledError.is(error)`, `WorkflowRunNotFoundError.is(error)`
    = `except RunFailedError`, `except RunCancelledError`, `except RunNotFoundError`; all of them are `RunError`
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
    component_sdk/test_run.py::test_a_handle_on_a_run_that_is_not_there_says_so_when_it_is_asked
storing run ids, to find runs again
    = `client.get_run(id)` at any time; or an `idempotency_key` of your own, which gives the first run again
    component_sdk/test_run.py::test_a_blocking_handle_looks_up_what_it_is_asked
    stepflow_runtime/services/test_runs.py::test_the_same_key_a_hundred_times_at_once_is_one_run
checking the status before `cancel()` and `wakeUp()`
    = no need to: `run.cancel()` and `run.wake_up()` change nothing of a run that has ended, and say so
    stepflow_runtime/services/test_runs.py::test_an_ended_run_is_not_cancellable
    component_sdk/test_run.py::test_sleeps_are_ended_early
polling `run.status` each second
    = `run.wait(timeout_s)`: woken by the end
    component_sdk/test_client.py::test_waiting_for_results_polls_nothing
a route that answers status, name and times
    = `POST /rpc` with `runs/get`
    stepflow_runtime/web/test_web.py::test_a_run_tells_its_status_name_and_times
a route that streams `text/event-stream`
    = `GET /runs/RUN/streams/NAMESPACE`: server-sent events, which resume exactly
    stepflow_runtime/web/test_following.py::test_chunks_come_as_they_are_written_each_with_its_index
    stepflow_runtime/web/test_following.py::test_a_reader_that_lost_its_connection_goes_on_after_what_it_has
"""

WORKFLOW_START: Final = """
`start(workflow, [args])` → `Run`
    = `client.start(flow, inputs)` → `Run`; in a component `ctx.start(flow, inputs)`. It answers once the run is durable
    component_sdk/test_client.py::test_scripts_may_block
    component_sdk/test_client.py::test_a_batch_is_streamed_and_repeatable
arguments must be serializable
    = what has a JSON form: builtins, Structs, dataclasses, pydantic models; what has none is named in the error
    component_sdk/test_signature.py::test_what_has_no_json_form_is_named
a workflow without arguments
    = `client.start(flow, [None])`: an item whose input is null
    component_sdk/test_run.py::test_an_item_may_have_nothing_as_its_input
fire and forget
    = `client.start(flow, inputs)`; the client may leave
    system/test_leaving_clients.py::test_runs_go_on_when_who_waits_for_them_leaves_and_waiters_are_freed
wait for completion
    = `run.return_value()`, or `client.submit_run(flow=, inputs=, wait=True)`
    component_sdk/test_client.py::test_return_value_is_the_value_of_one_item_and_the_list_of_several
a wait that is too long for the route that waits
    = `run.return_value(timeout_s=)` raises `RunNotCompletedError`; the run goes on
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
check the status later, by the run's id
    = `client.get_run(id)`
    component_sdk/test_run.py::test_a_blocking_handle_looks_up_what_it_is_asked
a route that streams `application/octet-stream`
    = `GET /runs/RUN/streams/NAMESPACE`: chunks that are bytes come as events `base64`; `stepflow runs stream RUN` prints a stream
    stepflow_runtime/web/test_following.py::test_chunks_come_as_they_are_written_each_with_its_index
`getWritable()`, `getWriter()`
    = `ctx.stream(namespace)`; from outside `run.writer(namespace)`
    component_sdk/test_streams.py::test_asyncio_components_and_plain_ones_write_too
    component_sdk/test_run.py::test_a_client_writes_to_its_streams_beside_its_components
`writer.write(chunk)`, bytes or values
    = `await ctx.stream().write(chunk)`; what is executed again doubles nothing
    component_sdk/test_streams.py::test_chunks_are_json_or_bytes_and_come_back_as_they_were
    stepflow_runtime/services/byproducts/test_streams.py::test_a_step_that_is_executed_again_doubles_nothing
`writer.releaseLock()`
    = Nothing: several may write at once; `close()` ends a stream for good
what a workflow returns
    = the flow's `output`; `run.return_value()`
    component_sdk/test_client.py::test_return_value_is_the_value_of_one_item_and_the_list_of_several
`"use workflow"`, `"use step"`
    = a flow, as data or from `FlowBuilder`, whose steps are components
    component_sdk/test_flow.py::test_a_built_flow_equals_its_yaml_and_has_its_id
"""

MASTRA: Final = """
`workflow.createRun()`
    = Nothing: a run is made and started at once by `client.start`; one that is to begin later has `delay_until`
`run.start({inputData})` → result
    = `client.start(flow, [input])`, then `run.wait()`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
`result.status === 'suspended'`
    = `run.wait(wait_for="settled")` answers when the run has ended or waits
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
`run.resume({resumeData, step})`
    = `run.resume(data, step=, label=, item_index=, token=)`; what may mean several is refused, and lists them
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
    conformance/test_nothing_changes.py::test_a_resume_that_may_mean_two
`run.stream()`
    = `run.events()`, from the beginning and live; `run.stream()` has what components write
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
    stepflow_runtime/services/test_listing.py::test_events_tell_a_run_from_its_creation_to_its_end
`run.resumeStream()`
    = `run.resume(data)`, then `run.events()`
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
`run.cancel()` → `{message}`
    = `run.cancel()` → `outcome`: `cancelled`, `alreadyCancelled` or `notCancellable`; stops steps that run, and all sub-runs
    component_sdk/test_run.py::test_a_cancelled_run_raises_that_it_was
    stepflow_runtime/services/test_runs.py::test_a_cancellation_goes_down_the_tree_by_the_policies
`run.restart()`
    = `run.restart()`: the active steps of a run go again, as the next attempt; of one that has ended what failed goes again, in a fork
    component_sdk/test_run.py::test_a_restart_is_of_the_run_itself_while_it_goes_on_and_of_a_fork_afterwards
    stepflow_runtime/services/test_forking.py::test_the_active_steps_of_a_run_go_again_as_the_next_attempt
    stepflow_runtime/services/test_forking.py::test_what_failed_goes_again_from_where_it_stopped_and_the_rest_is_kept
`run.timeTravel({step, inputData, resumeData, context})`
    = `run.time_travel(step, input=, resume_data=, context=)`: a fork in which the step and what depends on it go again; the run itself stays as it is
    component_sdk/test_run.py::test_a_run_travels_in_time_as_a_fork_whose_events_tell_it
    stepflow_runtime/services/test_forking.py::test_time_travel_executes_the_step_and_what_depends_on_it
    stepflow_runtime/services/test_forking.py::test_context_gives_results_that_were_never_recorded
    stepflow_runtime/services/test_forking.py::test_resume_data_answers_the_last_suspension_of_the_step
`run.timeTravelStream()`
    = the same, then the `run.events()` of the fork
    component_sdk/test_run.py::test_a_run_travels_in_time_as_a_fork_whose_events_tell_it
status `success`
    = `success`
    protocol/test_vocabulary.py::test_each_word_is_theirs_and_each_of_theirs_is_said
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
status `failed`, with error details
    = `failed`; the error is in each item's result, and the first in `RunFailedError.cause`
    component_sdk/test_run.py::test_a_failed_run_raises_the_error_of_its_first_item_that_failed
status `suspended`, with step information
    = `suspended`; the steps, their payloads and schemas are in `run.suspensions`
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
    stepflow_runtime/engine/test_waiting_runs.py::test_a_suspended_run_tells_what_it_waits_for_and_goes_on
status `canceled`
    = `cancelled`
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
"""

ANON: Final = """
`PENDING`
    = `pending`
    component_sdk/test_run.py::test_a_run_that_has_not_begun_is_pending_and_then_it_runs
`IN_PROGRESS`
    = `running`
    component_sdk/test_run.py::test_a_run_that_has_not_begun_is_pending_and_then_it_runs
`AWAITING_USER_INPUT`
    = `suspended`, with the detail `awaitingInput`
    component_sdk/test_run.py::test_a_suspended_run_is_resumed_and_its_events_tell_it
`COMPLETED`
    = `success`
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
`COMPLETED_WITH_NO_ACTION_TAKEN`
    = `success`, with the detail `noActionTaken`; `run.no_action_taken`. Components say it with `ctx.no_action()`
    component_sdk/test_run.py::test_a_run_that_found_nothing_to_do_says_so
    stepflow_runtime/services/test_no_action.py::test_a_run_took_no_action_when_every_item_took_none
`FAILED`
    = `failed`, and `cancelled`, for which they have no word
    stepflow_runtime/app/cli/test_server.py::test_a_status_is_told_in_the_words_of_another_system
`currentStateName`
    = `run.current_state_name`: the step that started last
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
    stepflow_runtime/app/cli/test_server.py::test_a_run_tells_its_step_its_labels_and_who_submitted_it
workflow id
    = `run.flow_id`: the hash of the flow, so that a run is of exactly this one for ever
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
job run id
    = `run.job_run_id`
    component_sdk/test_run.py::test_a_run_of_a_job_names_it
created by user id
    = `run.created_by`: what the client calls itself, `connect(name=)` or STEPFLOW_NAME, or the plugin whose component submitted it
    component_sdk/test_run.py::test_a_run_tells_who_submitted_it
    stepflow_runtime/app/test_visibility.py::test_a_server_sees_what_its_plugin_submitted_whatever_it_executes
creation, last update and completion time
    = `run.created_at`, `run.updated_at`, `run.completed_at`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
runs do not interfere with each other: context, artifacts, status
    = nor do the items of one: each has its context, its artifacts and its result
    conformance/test_bad_input.py::test_a_server_that_exits_when_it_is_called
    stepflow_runtime/services/byproducts/test_artifacts.py::test_artifacts_of_a_step_belong_to_its_item_and_stay_after_the_end
    stepflow_runtime/services/test_runs.py::test_single_items_are_cancelled_and_the_others_go_on
the workflow, a template that runs execute
    = a flow, kept under the hash of its content: `client.put_blob(flow, "flow")`
    stepflow_runtime/services/test_runs.py::test_what_can_never_run_is_refused_with_its_issues
    component_sdk/test_flow.py::test_a_built_flow_equals_its_yaml_and_has_its_id
runs of your organization
    = what a token lets see: clients all, a component server the trees it works in and the runs that its plugin submitted
    stepflow_runtime/app/test_visibility.py::test_a_run_of_another_tree_is_not_found_like_one_that_is_absent
    stepflow_runtime/app/test_visibility.py::test_a_server_sees_what_its_plugin_submitted_whatever_it_executes
list workflow runs, in pages
    = `client.list_runs(status=, flow_name=, labels=, created_after=, …)`, over all pages; runs that come meanwhile move none
    component_sdk/test_run.py::test_a_list_of_runs_goes_over_all_pages
    stepflow_runtime/services/test_listing.py::test_runs_are_found_by_what_they_are
    stepflow_runtime/services/test_listing.py::test_runs_that_come_while_pages_are_read_move_none
get a workflow run
    = `client.get_run(id)`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
create a workflow run
    = `client.start(flow, inputs)`
    component_sdk/test_run.py::test_a_run_tells_what_it_is_and_was
job runs, whose workflows go in order
    = `client.submit_job(runs)`: a failure stops the rest
    stepflow_runtime/services/automation/test_jobs.py::test_the_runs_of_a_job_go_in_order
    stepflow_runtime/services/automation/test_jobs.py::test_a_failure_stops_the_rest
artifacts of a workflow run, by `workflowRunId`
    = `ctx.put_artifact(name, data)`, `run.artifacts()`, each with its `run_id`
    stepflow_runtime/services/byproducts/test_artifacts.py::test_an_artifact_tells_what_it_is
    stepflow_runtime/services/byproducts/test_artifacts.py::test_artifacts_of_a_step_belong_to_its_item_and_stay_after_the_end
    test_examples.py::test_an_example_gives_what_is_expected
user input, such as a 2FA code
    = `ctx.suspend(payload, schema=, token=)`, then `run.resume(data)`, or a `POST` to `/hooks/TOKEN`
    test_pages.py::test_each_command_of_a_page_does_what_the_page_says
    stepflow_runtime/web/test_hooks.py::test_a_hook_resumes_a_run_and_tells_little
polling for completion every 5 seconds
    = `run.wait()`: woken by the end; on the wire `runs/get` with `wait`
    component_sdk/test_client.py::test_waiting_for_results_polls_nothing
webhooks on completion and when input is required
    = `client.register_webhook(url, ["run.completed", "run.suspended"])`: signed, and tried again for days
    component_sdk/test_automation.py::test_a_job_tells_a_webhook_of_each_of_its_runs
    stepflow_runtime/services/automation/test_webhooks.py::test_only_what_was_asked_for_is_told
alerting on failed runs
    = `client.register_webhook(url, ["run.completed"])`: the `status` in it says how the run ended
    stepflow_runtime/services/automation/test_webhooks.py::test_the_end_of_a_run_is_told_once_and_signed
logging state transitions
    = `run.events()`, or `stepflow runs events RUN`
    stepflow_runtime/services/test_listing.py::test_events_tell_a_run_from_its_creation_to_its_end
"""

STEPFLOW: Final = """
`runs/submit`: `flowId`, `inputs`, `wait`
    = the same, by a component server and by a client; a flow that is not stored yet is refused (`-32005`)
    stepflow_runtime/services/test_runs.py::test_a_waited_run_has_the_published_shape
    stepflow_runtime/services/test_runs.py::test_a_run_that_is_not_waited_for_is_told_without_results
    stepflow_runtime/services/test_runs.py::test_what_is_not_there_is_not_found
`runs/submit`: `maxConcurrency`
    = the same: used fully, and never passed
    component_sdk/test_context.py::test_submissions_say_all_that_they_are_given
    simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails
`runs/submit`: `overrides`
    = the same: by step, as a merge patch or a JSON patch
    stepflow_runtime/app/cli/test_run.py::test_overrides_and_variables_reach_the_run
    conformance/test_bad_input.py::test_overrides_of_a_step_that_is_unknown
`runs/submit`: `observability`
    = the same: it links a sub-run to its parent and its trace
    stepflow_runtime/services/test_runs.py::test_a_sub_run_knows_its_parent_and_the_parent_tells_of_it
    stepflow_runtime/app/test_tracing.py::test_three_levels_of_runs_are_one_trace_into_their_components
`runs/get`: `runId`, `wait`, `observability`
    = the same
    stepflow_runtime/services/test_runs.py::test_a_wait_is_bounded_and_the_run_is_not
    stepflow_runtime/services/test_runs.py::test_a_waiting_execution_is_parked_and_unparked
`runs/get`: `includeResults`, `resultOrder`: `byIndex`, `byCompletion`
    = the same; `byCompletion` is the order in which items ended, also while others run
    stepflow_runtime/services/test_runs.py::test_results_are_told_in_both_orders_also_while_the_run_goes_on
ids of blobs, `sha256:…`
    = `blake3:` and 64 hex digits, over the canonical content; to peers they mean nothing
    stepflow_runtime/model/test_canonical.py::test_a_blob_id_is_the_hash_of_the_bytes
`items`: `total`, `pending`, `running`, `success`, `failed`, `cancelled`
    = the same, true at every moment; `suspended` besides, where there are any
    stepflow_runtime/services/test_runs.py::test_a_waited_run_has_the_published_shape
    stepflow_runtime/services/test_runs.py::test_results_are_told_in_both_orders_also_while_the_run_goes_on
`results`: `itemIndex`, `result.outcome`, `result.value`, `completedAt`
    = the same; of a failed item `result.error`, of a cancelled one `result.reason`
    stepflow_runtime/services/test_runs.py::test_a_waited_run_has_the_published_shape
    stepflow_runtime/services/test_runs.py::test_failed_items_have_their_error_and_no_value
RunStatus: `runId`, `flowId`, `flowName`, `flowLabel`, `status`, `items`, `createdAt`, `completedAt`, `results`
    = the same, byte for byte; what was added is absent where it says nothing
    stepflow_runtime/services/test_runs.py::test_a_waited_run_has_the_published_shape
`pending`, `running`, `success`, `failed`, `cancelled`
    = the same, and `suspended`
    protocol/test_vocabulary.py::test_each_vocabulary_has_a_word_for_each_status_and_for_no_other
`ctx.put_blob()`, `ctx.submit_run()`, `ctx.get_run()`
    = the same; the snippets of the document run as they stand
    component_sdk/test_seed_snippets.py::test_the_orchestrator_gives_the_results_as_the_wire_has_them
    system/test_seed_snippets.py::test_the_orchestrator_runs_a_sub_workflow
    system/test_seed_snippets.py::test_the_batch_processor_counts_partial_failures
    system/test_seed_snippets.py::test_the_async_processor_polls_for_completion
`run_status.run_id`, `run_status.items.success`, `run_status.items.failed`, `run_status.results[0]`
    = the same, in `snake_case`
    component_sdk/test_seed_snippets.py::test_the_batch_processor_counts
    component_sdk/test_seed_snippets.py::test_the_async_processor_gets_its_result_later
"""
