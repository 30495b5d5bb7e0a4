"""The image and the compose file name what there is; what they start works, with what they make, on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from stepflow_runtime.app.cli.root import COMMANDS, root
from stepflow_runtime.app.config import RuntimeLimits
from stepflow_runtime.app.config_file import parse_config

ROOT: Final = Path(__file__).parent.parent.parent
DEPLOY: Final = ROOT / "deploy"
ORDERS: Final = ROOT / "examples" / "flows" / "orders"
DOCKERFILE: Final = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
TIMEOUT_S: Final = 60
SHARE: Final = "/opt/stepflow/share/"


def read_instructions(name: str) -> list[str]:
    """What follows on each such word of the last stage."""
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    return re.findall(rf"^(?:HEALTHCHECK .*)?{name} (.+)$", last_stage, re.MULTILINE)


def test_what_the_image_is_made_of_is_there_and_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    ]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if Path(source).parts[0] not in sent] == []
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)
    assert {"pyproject.toml", PROJECT["project"]["readme"]} <= set(copied)
    (extras,) = re.findall(r'pip install .*"\.\[(.+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    python = re.findall(r"^FROM python:3\.(\d+)", DOCKERFILE, re.MULTILINE)
    assert set(python) == {"13"}
    assert "Programming Language :: Python :: 3.13" in PROJECT["project"]["classifiers"]


def test_the_image_runs_as_nobody_in_particular_and_is_stopped_and_watched_as_it_should_be() -> None:
    (user,) = read_instructions("USER")
    assert user == "stepflow"
    assert not re.search(r"^(RUN|COPY)", DOCKERFILE[DOCKERFILE.index("\nUSER ") :], re.MULTILINE)
    assert read_instructions("STOPSIGNAL") == ["SIGTERM"]
    assert read_instructions("VOLUME") == ['["/state"]']
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.+)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(check) == ["python", f"{SHARE}is_alive.py"]


def test_the_command_of_the_image_is_one_that_there_is() -> None:
    (entrypoint,) = map(json.loads, read_instructions("ENTRYPOINT"))
    (arguments,) = map(json.loads, re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE))
    assert entrypoint == list(PROJECT["project"]["scripts"])
    command = root.get_command(root.make_context("stepflow", [arguments[0]]), arguments[0])
    assert arguments[0] in COMMANDS
    assert command is not None
    assert command.make_context(arguments[0], arguments[1:]).params["config_path"] == Path(arguments[2])
    assert f" {arguments[2]}\n" in DOCKERFILE


def test_the_compose_file_mounts_what_there_is_and_waits_for_what_it_names() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
            else:
                assert source in COMPOSE["volumes"], volume
            assert target.startswith("/"), volume
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), "only this machine comes in"
        assert "image" in service, name
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"prometheus", "grafana"}


def test_a_container_has_longer_to_stop_than_a_runtime_takes_to_drain() -> None:
    runtime = SERVICES["runtime"]
    assert runtime["stop_signal"] == "SIGTERM"
    assert int(runtime["stop_grace_period"].removesuffix("s")) * 1000 > RuntimeLimits().drain_timeout_ms + 15_000


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"].split("/")[2].split(":")[0] in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "stepflow.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
    folder = ROOT / mounts[provider["options"]["path"]]
    assert (folder / "stepflow.json").is_file()
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/stepflow.json"


def test_prometheus_scrapes_what_the_runtime_serves_with_what_it_was_given() -> None:
    told = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = told["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    config = parse_config((DEPLOY / "stepflow-config.yml").read_bytes(), "stepflow-config.yml", DEPLOY, {})
    assert target.split(":")[0] in SERVICES
    assert target in config.listen.http_hosts
    assert job["authorization"]["credentials_file"] == "/secrets/prometheus.token"
    assert all((DEPLOY / "prometheus" / name).is_file() for name in told["rule_files"])


# --- what is started -------------------------------------------------------------------------------------------------


class Place:
    """What containers have at the same places, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.secrets, self.state = folder / "secrets", folder / "state"
        self.state.mkdir(mode=0o700)
        self.rpc, self.http = free_port(), free_port()
        self.config = folder / "stepflow-config.yml"
        text = (DEPLOY / "stepflow-config.yml").read_text()
        self.config.write_text(text.replace("7837", str(self.rpc)).replace("7838", str(self.http)))
        self.env = {**os.environ, "SECRETS": str(self.secrets), "STATE": str(self.state), "PYTHONPATH": str(ROOT)}

    def translate(self, words: list[str]) -> list[str]:
        """A command of a container, as it is typed here."""
        here = {
            SHARE: f"{DEPLOY}/",
            "/secrets": str(self.secrets),
            "/components/": f"{ORDERS}/",
            "/etc/stepflow/stepflow-config.yml": str(self.config),
            "runtime:7837": f"localhost:{self.rpc}",
            "localhost:7838": f"localhost:{self.http}",
        }
        for there, this in here.items():
            words = [word.replace(there, this) for word in words]
        programs = {"python": [sys.executable], "stepflow": [sys.executable, "-m", "stepflow_runtime.app.cli"]}
        return [*programs.get(words[0], [words[0]]), *words[1:]]

    def run(self, words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.translate(words),
            env=self.env | dict(zip(env, self.translate(["", *env.values()])[1:], strict=True)),
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
        )

    @contextmanager
    def start(self, words: list[str], **env: str) -> Iterator[subprocess.Popen[str]]:
        env = self.env | dict(zip(env, self.translate(["", *env.values()])[1:], strict=True))
        process = subprocess.Popen(self.translate(words), env=env, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        with process.stderr:
            try:
                yield process
            finally:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def read_command(service: str) -> list[str]:
    """What a service starts."""
    given = SERVICES[service]
    return [*given["entrypoint"], *given["command"]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    made = place.run(read_command("secrets"))
    assert made.returncode == 0, made.stderr
    return place


def test_secrets_are_made_once_and_are_their_owners(place: Place) -> None:
    before = {path.name: path.read_bytes() for path in place.secrets.iterdir()}
    assert place.run(read_command("secrets")).stdout.rstrip().endswith("there already")
    assert {path.name: path.read_bytes() for path in place.secrets.iterdir()} == before
    open_to_others = {path.name for path in place.secrets.iterdir() if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH}
    assert open_to_others == {"ca.pem", "runtime.pem", "prometheus.token"}
    assert len({before[name] for name in before if name.endswith(".token")}) == 3


def test_what_the_compose_file_starts_works_together_and_stops_on_sigterm(place: Place) -> None:
    environment = SERVICES["runtime"]["environment"]
    (arguments,) = map(json.loads, re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE))
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.+)$", DOCKERFILE, re.MULTILINE)
    assert place.run(json.loads(check), **environment).returncode == 1, "nothing is there yet"
    with place.start(["stepflow", *arguments], STEPFLOW_LOG_FORMAT="json") as runtime:
        assert runtime.stderr is not None
        for line in runtime.stderr:
            if line.startswith("console and HTTP at "):
                break
        healthy = place.run(json.loads(check), **environment)
        assert healthy.returncode == 0, healthy.stderr
        with place.start(read_command("orders"), **SERVICES["orders"]["environment"]):
            done = place.run(
                [
                    *("stepflow", "submit", f"{ORDERS}/flow.yaml", "--inputs", f"{ORDERS}/inputs.jsonl"),
                    *("--wait", "--url", f"tls://localhost:{place.rpc}"),
                ],
                STEPFLOW_TOKEN_FILE="/secrets/client.token",
                STEPFLOW_TLS_CA="/secrets/ca.pem",
            )
        assert done.returncode in (0, 1), done.stderr  # some of the orders are bad
        outcomes = [json.loads(line)["result"]["outcome"] for line in done.stdout.splitlines()]
        expected = (ORDERS / "expected.jsonl").read_text().splitlines()
        assert outcomes == [json.loads(line)["result"]["outcome"] for line in expected]
        assert f'stepflow_items_total{{status="success"}} {outcomes.count("success")}\n' in scrape(place)
        runtime.send_signal(signal.SIGTERM)
        assert runtime.wait(TIMEOUT_S) == 0


def scrape(place: Place) -> str:
    """What Prometheus gets, as it is told to ask."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    files = place.translate(["", job["tls_config"]["ca_file"], job["authorization"]["credentials_file"]])[1:]
    context = ssl.create_default_context(cafile=files[0])
    headers = {"Authorization": f"Bearer {Path(files[1]).read_text()}"}
    url = f"{job['scheme']}://localhost:{place.http}{job['metrics_path']}"
    answer = httpx.get(url, verify=context, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text
