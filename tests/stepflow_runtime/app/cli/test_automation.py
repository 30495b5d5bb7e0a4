"""`stepflow jobs`, `schedules` and `webhooks`, with a runtime that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stepflow_runtime.app.cli.cli_kit import Stepflow

JOB = """
name: nightly
runs:
  - {flow: flow.yaml, inputs: [{n: 1}], flowLabel: first}
  - {flow: flow.yaml, inputsFile: rows.jsonl}
"""


@pytest.fixture(autouse=True)
def job_files(folder: Path) -> None:
    (folder / "job.yaml").write_text(JOB)
    (folder / "rows.jsonl").write_text('{"n": 2}\n{"n": 3}\n')
    (folder / "bad.yaml").write_text(JOB.replace("{n: 1}", "{n: 99}"))


def test_a_job_is_submitted_waited_for_and_looked_at(address: str, stepflow: Stepflow) -> None:
    done = stepflow("jobs", "submit", "job.yaml", "--wait", "-o", "json")
    assert (done.code, done.json["status"], done.json["name"]) == (0, "success", "nightly")
    assert [run["items"]["success"] for run in done.json["runs"]] == [1, 2]
    job_id = done.json["jobRunId"]
    shown = stepflow("jobs", "get", job_id).out
    assert "first" in shown
    assert done.json["runs"][1]["runId"] in shown
    assert [job["jobRunId"] for job in stepflow("jobs", "list", "-o", "jsonl").lines] == [job_id]
    listed = stepflow("runs", "list", "--job", job_id, "-o", "jsonl").lines
    assert {run["runId"] for run in listed} == {run["runId"] for run in done.json["runs"]}


def test_a_job_that_fails_or_is_cancelled_says_so(address: str, stepflow: Stepflow) -> None:
    done = stepflow("jobs", "submit", "bad.yaml", "--wait", "-o", "json")
    assert (done.code, [run["status"] for run in done.json["runs"]]) == (1, ["failed", "cancelled"])
    done = stepflow("jobs", "cancel", done.json["jobRunId"], "-o", "json")
    assert done.json["status"] == "failed"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("runs: 7", "is no job"),
        ("[]", "is no job"),
        ("runs: [{inputs: [1]}]", "needs a flow"),
        ("runs: [{flow: flow.yaml}]", "needs a flow, and inputs"),
        ("runs: [{flow: nowhere.yaml, inputs: []}]", "nowhere.yaml"),
        ("runs: [{flow: flow.yaml, inputsFile: nowhere.jsonl}]", "nowhere.jsonl"),
        ("runs: []", "jobs/submit"),
    ],
)
def test_a_job_file_that_is_wrong_is_explained(
    address: str, stepflow: Stepflow, folder: Path, content: str, words: str
) -> None:
    (folder / "job.yaml").write_text(content)
    done = stepflow("jobs", "submit", "job.yaml")
    assert done.code == 2
    assert words in done.err


def test_a_schedule_is_created_paused_and_deleted(address: str, stepflow: Stepflow) -> None:
    args = ("--time-zone", "Europe/Berlin", "--name", "nightly", "--input", '{"n": 1}', "--overlap", "queue")
    done = stepflow("schedules", "create", "30 2 * * *", "flow.yaml", *args, "-o", "json")
    assert done.code == 0, done.err
    assert (done.json["overlap"], done.json["timeZone"]) == ("queue", "Europe/Berlin")
    schedule_id = done.json["scheduleId"]
    assert "paused" in stepflow("schedules", "pause", schedule_id).out
    assert "nextAt" in stepflow("schedules", "unpause", schedule_id, "-o", "json").json
    assert "nightly" in stepflow("schedules", "list").out
    assert stepflow("schedules", "delete", schedule_id).code == 0
    assert "no schedules" in stepflow("schedules", "list").err
    assert stepflow("schedules", "create", "30 2 * * *", "flow.yaml", "--idempotency-key", "k").code == 2
    done = stepflow("schedules", "create", "every night", "flow.yaml")
    assert done.code == 2
    assert "no cron expression" in done.err


@pytest.mark.parametrize(
    "args", [("schedules", "create", "30 2 * * *", "flow.yaml"), ("webhooks", "register", "https://receiver.example/")]
)
def test_what_is_asked_twice_under_one_id_is_there_once(
    address: str, stepflow: Stepflow, args: tuple[str, ...]
) -> None:
    once, again, new = (
        stepflow(*args, "-o", "json", *request).json for request in [("--request-id", "a"), ("--request-id", "a"), ()]
    )
    assert again == {**once, "deduplicated": True}
    made = f"{args[0][:-1]}Id"
    assert once[made] != new[made]
    for one in (once, new):
        assert stepflow(args[0], "delete", one[made]).code == 0


def test_a_webhook_is_registered_listed_and_deleted(address: str, stepflow: Stepflow, folder: Path) -> None:
    done = stepflow("webhooks", "register", "https://receiver.example/hook", "--flow-name", "other", "-o", "json")
    assert done.json["secret"].startswith("whsec_")
    (folder / "secret").write_text(done.json["secret"] + "\n")
    (folder / "secret").chmod(0o600)
    again = stepflow("webhooks", "register", "https://receiver.example/", "--secret-file", "secret", "-o", "json")
    assert "secret" not in again.json
    shown = stepflow("webhooks", "list")
    assert "https://receiver.example/hook" in shown.out
    assert done.json["secret"] not in shown.out
    assert "no such deliveries" in stepflow("webhooks", "deliveries", "--status", "dead").err
    assert "0 sent again" in stepflow("webhooks", "redeliver", "--webhook", done.json["webhookId"]).err
    assert stepflow("webhooks", "delete", done.json["webhookId"]).code == 0
    done = stepflow("webhooks", "register", "http://127.0.0.1/")
    assert done.code == 2
    assert "scheme must be https" in done.err
    done = stepflow("webhooks", "redeliver")
    assert done.code == 2
    assert "give either deliveryId" in done.err
