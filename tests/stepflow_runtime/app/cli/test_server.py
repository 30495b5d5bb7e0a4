"""A runtime that serves, and the commands that talk to it."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.wire import RawClient
from tests.stepflow_runtime.app.cli.cli_kit import Program, Stepflow

NOWHERE = "127.0.0.1:1"


def submit(stepflow: Stepflow, *args: str, flow: str = "flow.yaml") -> str:
    run_id: str = stepflow("submit", flow, "-o", "json", *args).json["runId"]
    return run_id


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_says_where_it_listens_and_ends_at_a_signal(folder: Path, number: signal.Signals) -> None:
    with Program("serve", "--listen", "127.0.0.1:0") as program:
        line = program.read_line()
        assert line.startswith("stepflow 0.1.0 listening on 127.0.0.1:")
        assert line.endswith(" · state in .stepflow/state.db · 3 plugins\n")
        program.interrupt(number)
        done = program.finish()
    assert (done.code, done.out, done.err) == (0, "", "")


def test_two_servers_cannot_have_one_address(address: str, stepflow: Stepflow) -> None:
    done = stepflow("serve", "--listen", address, "--storage-path", ":memory:")
    assert done.code == 2
    assert f"Cannot listen on {address}: Address already in use" in done.err


def test_two_runtimes_cannot_have_one_state(address: str, stepflow: Stepflow) -> None:
    done = stepflow("run", "flow.yaml", "--input", '{"n": 1}')
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_runtime_serves_on_stdio(folder: Path) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
    with Program("serve", "--stdio") as program:
        done = program.finish(json.dumps(request).encode() + b"\n")
    assert done.code == 0
    assert done.lines == [{"jsonrpc": "2.0", "result": {}, "id": 1}]
    assert "serving on stdio" in done.err


@pytest.mark.parametrize(
    "args", [["submit", "flow.yaml"], ["runs", "list"], ["runs", "get", "x"], ["blobs", "get", "x"]], ids=" ".join
)
def test_without_a_server_the_exit_code_is_3(stepflow: Stepflow, args: list[str]) -> None:
    done = stepflow(*args, "--url", NOWHERE)
    assert done.code == 3
    assert done.err == (
        f"stepflow: No runtime answers at {NOWHERE}; start one with `stepflow serve`, or name another with --url.\n"
    )


def test_a_url_that_cannot_be_read_is_wrong_use(stepflow: Stepflow) -> None:
    done = stepflow("runs", "list", "--url", "ftp://x")
    assert done.code == 2
    assert done.err.startswith('stepflow: --url: The url "ftp://x" cannot be read')


def test_a_submission_shows_its_run(address: str, stepflow: Stepflow) -> None:
    done = stepflow("submit", "flow.yaml", "--input", '{"n": 1}')
    assert done.code == 0
    facts = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert facts["flow"].strip() == "Doubling"
    assert len(facts["run"].strip()) == 36


def test_waiting_prints_what_run_would_print(address: str, stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text(f'{{"n": 1}}\n{{"n": 7, "pad": "{"x" * 1000}"}}\n' * 1500)
    done = stepflow("submit", "flow.yaml", "--inputs", "in.jsonl", "--wait")
    assert done.code == 1
    assert [line["itemIndex"] for line in done.lines] == list(range(3000))
    assert "3,000 items · 1,500 ok, 1,500 failed" in done.err
    assert "1,500 × COMPONENT_FAILED" in done.err


def test_a_run_that_was_given_up_takes_no_more_inputs(address: str, stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text(f'{{"n": 7, "pad": "{"x" * 1000}"}}\n' * 20_000)
    args = ["submit", "flow.yaml", "--inputs", "in.jsonl", "--failure-policy", "failFast"]
    assert "failed" in stepflow(*args).out
    done = stepflow(*args, "--wait")
    assert done.code == 1
    assert done.err.startswith("failed · ")


def test_a_stored_flow_is_submitted_by_its_id(address: str, stepflow: Stepflow) -> None:
    flow_id = stepflow("blobs", "put", "flow.yaml", "--type", "flow").out.strip()
    assert flow_id == stepflow("flows", "id", "flow.yaml").out.strip()
    assert stepflow("submit", flow_id, "--input", '{"n": 2}', "--wait").json["value"] == 4


def test_the_same_idempotency_key_gives_the_same_run(address: str, stepflow: Stepflow) -> None:
    first = submit(stepflow, "--input", '{"n": 1}', "--idempotency-key", "k")
    assert submit(stepflow, "--input", '{"n": 1}', "--idempotency-key", "k") == first
    done = stepflow("submit", "flow.yaml", "--input", '{"n": 2}', "--idempotency-key", "k")
    assert done.code == 2


def test_runs_are_listed_the_newest_first(address: str, stepflow: Stepflow) -> None:
    first = submit(stepflow, "--input", '{"n": 1}', "--label", "team=a")
    second = submit(stepflow, "--input", '{"n": 2}')
    assert [run["runId"] for run in stepflow("runs", "list", "-o", "jsonl").lines] == [second, first]
    assert [run["runId"] for run in stepflow("runs", "list", "--limit", "1", "-o", "json").json] == [second]
    assert [run["runId"] for run in stepflow("runs", "list", "--label", "team=a", "-o", "json").json] == [first]
    table = stepflow("runs", "list").out.splitlines()
    assert table[0].split() == ["RUN", "FLOW", "STATUS", "ITEMS", "AGE"]
    assert [line.split()[0] for line in table[1:]] == [second, first]
    assert stepflow("runs", "list", "--label", "team=b").err == "There are no such runs.\n"


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        ("workflow", ["completed", "failed", "cancelled"]),
        ("mastra", ["success", "failed", "canceled"]),
        ("anon", ["COMPLETED", "FAILED", "FAILED"]),
    ],
)
def test_a_status_is_told_in_the_words_of_another_system(
    address: str, stepflow: Stepflow, vocabulary: str, words: list[str]
) -> None:
    good, bad = submit(stepflow, "--input", '{"n": 1}'), submit(stepflow, "--input", '{"n": 7}')
    stuck = submit(stepflow, "--input", "1", flow="stuck.yaml")
    option = ("--vocabulary", vocabulary)
    assert stepflow("runs", "get", good, "--wait", "-o", "json", *option).json["status"] == words[0]
    assert stepflow("runs", "watch", bad, "-o", "jsonl", *option).lines[-1]["status"] == words[1]
    (cancelled,) = stepflow("runs", "cancel", stuck, "--grace", "0", "-o", "json", *option).json
    assert cancelled["status"] == words[2]
    assert [run["status"] for run in stepflow("runs", "list", "-o", "jsonl", *option).lines] == words[::-1]
    assert words[0] in stepflow("runs", "get", good, *option).out
    done = stepflow("submit", "flow.yaml", "--input", '{"n": 1}', "--wait", "-o", "json", *option)
    assert (done.code, done.json["status"]) == (0, words[0])
    assert done.err.startswith(f"{words[0]} · ")
    assert stepflow("runs", "get", good, "-o", "json").json["status"] == "success"


def test_an_unknown_vocabulary_is_wrong_use(stepflow: Stepflow) -> None:
    done = stepflow("runs", "list", "--vocabulary", "temporal")
    assert done.code == 2
    assert "'workflow', 'mastra', 'anon'" in done.err


def test_runs_are_found_by_when_they_were_created(address: str, stepflow: Stepflow) -> None:
    run_id = submit(stepflow, "--input", '{"n": 1}', "--label", "team=a")
    run = stepflow("runs", "get", run_id, "--wait", "-o", "json").json
    listed = [found["runId"] for found in stepflow("runs", "list", "--created-before", "9999-01-01", "-o", "json").json]
    assert listed == [run_id]
    assert stepflow("runs", "list", "--created-before", run["createdAt"], "-o", "json").json == []
    assert stepflow("runs", "list", "--created-after", run["createdAt"], "-o", "json").json == []
    done = stepflow("runs", "list", "--created-after", "yesterday")
    assert (done.code, "createdAfter is not a time" in done.err) == (2, True)


def test_a_run_tells_its_step_its_labels_and_who_submitted_it(
    address: str, stepflow: Stepflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPFLOW_NAME", "ada")
    run_id = submit(stepflow, "--input", '{"n": 1}', "--label", "team=a")
    stepflow("runs", "get", run_id, "--wait")
    facts = {
        name.strip(): fact.strip() for name, fact in map(split_fact, stepflow("runs", "get", run_id).out.splitlines())
    }
    assert (facts["step"], facts["labels"], facts["created by"]) == ("double", "team=a", "ada")


def split_fact(line: str) -> tuple[str, str]:
    name, _, fact = line.partition("  ")
    return name, fact


def test_a_run_and_its_results_are_shown(address: str, stepflow: Stepflow) -> None:
    run_id = submit(stepflow, "--input", '{"n": 7}')
    done = stepflow("runs", "get", run_id, "--wait")
    assert done.code == 1
    assert "failed" in done.out
    assert stepflow("runs", "get", run_id, "-o", "json").json["items"]["failed"] == 1
    (line,) = stepflow("runs", "get", run_id, "--results", "-o", "jsonl").lines
    assert line["result"]["error"]["code"] == "COMPONENT_FAILED"


def test_results_can_be_had_in_the_order_of_completion(address: str, stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"n": 1}\n' * 2500)
    run_id = submit(stepflow, "--inputs", "in.jsonl")
    stepflow("runs", "get", run_id, "--wait")
    lines = stepflow("runs", "get", run_id, "--results", "--order", "byCompletion").lines
    assert sorted(line["itemIndex"] for line in lines) == list(range(2500))
    assert len(stepflow("runs", "get", run_id, "--results", "--limit", "1200").lines) == 1200


def test_each_event_is_told_once(address: str, stepflow: Stepflow) -> None:
    run_id = submit(stepflow, "--input", '{"n": 1}')
    followed = [event["type"] for event in stepflow("runs", "events", run_id, "--follow").lines]
    assert followed[0] == "run.created"
    assert followed[-1] == "run.completed"
    assert len(set(followed)) == len(followed)
    assert [event["type"] for event in stepflow("runs", "events", run_id, "-o", "jsonl").lines] == followed
    assert (
        stepflow("runs", "events", run_id, "--type", "run.completed").out.splitlines()[1].split()[2] == "run.completed"
    )
    assert stepflow("runs", "events", run_id, "--type", "nonsense").code == 2
    last = stepflow("runs", "events", run_id, "--tail", "1", "-o", "jsonl").lines
    assert [event["type"] for event in last] == ["run.completed"]
    assert stepflow("runs", "events", run_id, "--tail", "1", "--follow").lines == last


def test_a_watched_run_tells_how_it_ended(address: str, stepflow: Stepflow) -> None:
    done = stepflow("runs", "watch", submit(stepflow, "--input", '{"n": 7}'))
    assert done.code == 1
    assert "1 × COMPONENT_FAILED" in done.err
    assert stepflow("runs", "watch", submit(stepflow, "--input", '{"n": 1}'), "-o", "jsonl").code == 0


def test_states_of_items_are_told_in_letters_or_in_words(address: str, stepflow: Stepflow, tmp_path: Path) -> None:
    (tmp_path / "inputs.jsonl").write_text('{"n": 1}\n{"n": 7}\n{"n": 2}\n')
    run_id = submit(stepflow, "--inputs", str(tmp_path / "inputs.jsonl"))
    stepflow("runs", "get", run_id, "--wait")
    assert stepflow("runs", "states", run_id).out == "0  sfs\n"
    assert stepflow("runs", "states", run_id, "--start", "1", "--limit", "1", "-o", "json").json == {
        "startIndex": 1,
        "states": "f",
    }
    words = stepflow("runs", "states", run_id, "--start", "1", "-o", "jsonl").lines
    assert words == [{"itemIndex": 1, "status": "failed"}, {"itemIndex": 2, "status": "success"}]


def test_component_servers_are_listed(address: str, stepflow: Stepflow) -> None:
    assert stepflow("servers", "list").err == "This runtime has no component servers.\n"
    assert stepflow("servers", "list", "-o", "json").json == []


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (["runs", "get", "nowhere"], "there is no run nowhere; `stepflow runs list` shows those that there are."),
        (["runs", "watch", "nowhere"], "`stepflow runs list` shows"),
        (["jobs", "get", "nowhere"], "`stepflow jobs list` shows"),
        (["schedules", "pause", "nowhere"], "`stepflow schedules list` shows"),
        (["webhooks", "delete", "nowhere"], "`stepflow webhooks list` shows"),
    ],
)
def test_who_asks_for_what_is_not_there_is_told_how_to_find_it(
    address: str, stepflow: Stepflow, args: list[str], advice: str
) -> None:
    done = stepflow(*args)
    assert done.code == 2
    assert advice in done.err


def test_who_resumes_what_does_not_wait_is_told_how_to_see_what_does(address: str, stepflow: Stepflow) -> None:
    done = stepflow("runs", "resume", submit(stepflow, "--input", '{"n": 1}'))
    assert "`stepflow runs get RUN` shows what waits." in done.err


def test_a_cancelled_run_is_waited_for(address: str, stepflow: Stepflow) -> None:
    run_id = stepflow("submit", "stuck.yaml", "-o", "json").json["runId"]
    (run,) = stepflow("runs", "cancel", run_id, "--reason", "no need", "--grace", "0", "-o", "json").json
    assert (run["status"], run["cancelReason"]) == ("cancelled", "no need")
    assert stepflow("runs", "get", run_id, "--wait").code == 4
    ended = submit(stepflow, "--input", '{"n": 1}')
    stepflow("runs", "get", ended, "--wait")
    assert "had ended before; nothing was changed" in stepflow("runs", "cancel", ended).err


def test_a_deleted_run_is_gone(address: str, stepflow: Stepflow) -> None:
    run_id = submit(stepflow, "--input", '{"n": 1}')
    stepflow("runs", "get", run_id, "--wait")
    assert stepflow("runs", "delete", run_id).code == 0
    done = stepflow("runs", "get", run_id)
    assert done.code == 2
    assert run_id in done.err


def test_blobs_come_back_as_they_were(address: str, stepflow: Stepflow, folder: Path) -> None:
    (folder / "a.json").write_text('{"b": [1, 2.5], "a": null}')
    (folder / "bytes").write_bytes(bytes(range(100)))
    assert stepflow("blobs", "get", stepflow("blobs", "put", "a.json").out.strip()).json == {"a": None, "b": [1, 2.5]}
    blob_id = stepflow("blobs", "put", "bytes", "--type", "binary").out.strip()
    assert stepflow("blobs", "get", blob_id, "--to", "copy").code == 0
    assert (folder / "copy").read_bytes() == bytes(range(100))
    assert stepflow("blobs", "get", f"blake3:{'0' * 64}").code == 2


def test_a_state_that_is_no_state_is_refused(folder: Path, stepflow: Stepflow) -> None:
    with sqlite3.connect(folder / "other.db") as database:
        database.execute("CREATE TABLE something (else_ TEXT)")
    database.close()
    done = stepflow("serve", "--listen", "127.0.0.1:0", "--storage-path", "other.db")
    assert done.code == 2
    assert "Traceback" not in done.err


# --- what a run makes beside its results ---


@pytest.fixture
def open_run(address: str, stepflow: Stepflow) -> Iterator[tuple[RawClient, str]]:
    """A client, and a run that goes on until somebody cancels it."""
    run_id = submit(stepflow, "--input", "1", flow="stuck.yaml")
    host, port = address.rsplit(":", 1)
    with RawClient((host, int(port))) as client:
        yield client, run_id


def test_a_stream_is_printed_a_chunk_a_line_to_its_end(open_run: tuple[RawClient, str], stepflow: Stepflow) -> None:
    client, run_id = open_run
    client.call("runs/streams/write", {"runId": run_id, "chunks": ["half ", {"n": 1.0}, 3]})
    client.call("runs/streams/write", {"runId": run_id, "chunks": ["AP8="], "encoding": "base64"})
    client.call("runs/streams/write", {"runId": run_id, "chunks": [7], "namespace": "other"})
    assert stepflow("runs", "stream", run_id, "--no-follow").out == '"half "\n{"n": 1.0}\n3\n"AP8="\n'
    assert stepflow("runs", "stream", run_id, "--no-follow", "--from", "-2").lines == [3, "AP8="]
    assert stepflow("runs", "stream", run_id, "--no-follow", "--namespace", "other").lines == [7]
    told = stepflow("runs", "stream", run_id, "--no-follow", "--namespace", "log")
    assert (told.out, told.err) == ("", "The stream log is empty; streams of the run: default, other.\n")
    client.call("runs/streams/close", {"runId": run_id})
    assert stepflow("runs", "stream", run_id, "--from", "2").lines == [3, "AP8="]
    with Program("runs", "stream", run_id, "--raw") as program:
        assert program.read_all() == b'half {"n": 1.0}\n3\n\x00\xff'


def test_artifacts_are_listed(open_run: tuple[RawClient, str], stepflow: Stepflow) -> None:
    client, run_id = open_run
    assert stepflow("runs", "artifacts", run_id).err == "The run has put no artifacts.\n"
    blob_id = client.call("blobs/put", {"data": "AAEC", "blob_type": "binary"})["blob_id"]
    params = {"runId": run_id, "name": "scan.png", "mimeType": "image/png", "blobId": blob_id}
    put = client.call("runs/artifacts/put", params)
    assert stepflow("runs", "artifacts", run_id, "-o", "json").json == [put]
    head, row = stepflow("runs", "artifacts", run_id).out.splitlines()
    assert head.split() == ["NAME", "ITEM", "TYPE", "SIZE", "BLOB"]
    assert row.split() == ["scan.png", "image/png", "3", blob_id]


def test_events_of_sub_runs_are_shown_with_it(address: str, stepflow: Stepflow, folder: Path) -> None:
    (folder / "nest.yaml").write_text(
        "steps: [{id: eval, component: /builtin/eval, input: {flow: {$literal: {steps: [], output: 1}}, input: 1}}]\n"
        "output: {$step: eval}\n"
    )
    run_id = submit(stepflow, "--input", "1", flow="nest.yaml")
    stepflow("runs", "get", run_id, "--wait")
    events = stepflow("runs", "events", run_id, "--sub-runs", "--follow").lines
    assert [event["type"] for event in events].count("run.completed") == 2
    assert len({event["runId"] for event in events}) == 2
