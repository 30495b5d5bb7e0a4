from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from protocol.tls import TlsFiles
from stepflow_runtime.app.config import (
    AcceptConfig,
    BuiltinConfig,
    Config,
    ConfigError,
    DialConfig,
    MemoryStorage,
    MockConfig,
    SecretConfig,
    SqliteStorage,
    StdioConfig,
)
from stepflow_runtime.app.config_file import may_be_written_by_others, obtain_config, parse_config
from stepflow_runtime.connect.routes import Route
from stepflow_runtime.connect.stdio import ProcessLimits

HERE = Path("/srv/flows")


def read(text: str, **environ: str) -> Config:
    return parse_config(textwrap.dedent(text).encode(), "stepflow-config.yml", HERE, environ)


def refusal(text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STEPFLOW_CONFIG", "STEPFLOW_STORAGE_PATH", "STEPFLOW_LISTEN_RPC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# --- what is written ---


def test_every_kind_of_plugin_is_read() -> None:
    config = read(
        """
        plugins:
          builtin: {type: builtin, loadFile: [data]}
          python: {type: stepflow, transport: stdio, command: python, args: [server.py], env: {A: b}, processes: 2}
          remote: {type: stepflow, url: "tcp://10.0.0.7:7900"}
          dialin: {type: stepflow, accept: gpu-workers}
          mock: {type: mock, components: {"/one": {behaviors: [{input: 1, result: {outcome: success, value: 2}}]}}}
        routes: {"/python": [{plugin: python}], "/remote": [{plugin: remote}], "/": [{plugin: mock}, {plugin: dialin}]}
        """
    )
    assert config.plugins == {
        "builtin": BuiltinConfig(load_file=(HERE / "data",)),
        "python": StdioConfig(command="python", args=("server.py",), env={"A": "b"}, processes=2, cwd=HERE),
        "remote": DialConfig(url="tcp://10.0.0.7:7900"),
        "dialin": AcceptConfig(accept="gpu-workers"),
        "mock": MockConfig(components={"/one": {"1": b"2"}}),
    }
    assert config.warnings == ()


def test_routes_keep_their_order_and_the_builtin_plugin_needs_none() -> None:
    config = read(
        """
        plugins: {python: {type: stepflow, command: python}, builtin: {type: builtin}}
        routes: {"/python/{*component}": [{plugin: python}], "/py": [{plugin: python}]}
        """
    )
    assert config.routes == (
        Route("/python/{*component}", "python"),
        Route("/py/{*component}", "python"),
        Route("/builtin/{*component}", "builtin"),
    )


def test_a_published_stepflow_configuration_loads_as_it_is() -> None:
    config = read(
        """
        plugins:
          builtin:
            type: builtin
          python:
            type: stepflow
            transport: stdio
            command: uv
            args: ["--project", "${PROJECT:-../sdks/python}", "run", "stepflow_py"]
        routes:
          "/python/{*component}":
            - plugin: python
          "/{*component}":
            - plugin: builtin
        stateStore:
          type: sqlite
          databaseUrl: "sqlite:workflow_state.db?mode=rwc"
          autoMigrate: true
          maxConnections: 10
        """
    )
    python = config.plugins["python"]
    assert isinstance(python, StdioConfig)
    assert python.args[1] == "../sdks/python"
    assert config.storage == SqliteStorage(path=HERE / "workflow_state.db")
    assert read("stateStore: {type: inMemory}").storage == MemoryStorage()


def test_numbers_may_come_from_the_environment() -> None:
    config = read("limits: {maxBatch: '${BATCH:-7}', maxRunDepth: '${DEPTH}'}", DEPTH="3")
    assert (config.limits.max_batch, config.limits.max_run_depth) == (7, 3)


def test_two_dollars_stand_for_one() -> None:
    config = read("plugins: {p: {type: stepflow, command: sh, args: ['$${HOME}']}}\nroutes: {/p: [{plugin: p}]}")
    python = config.plugins["p"]
    assert isinstance(python, StdioConfig)
    assert python.args == ("${HOME}",)


def test_retries_are_read() -> None:
    retry = read("retry: {transportMaxRetries: 1, backoff: {type: constant, minDelayMs: 5}}").retry
    assert (retry.transport_max_retries, retry.backoff.type, retry.backoff.min_delay_ms) == (1, "constant", 5)


def test_secrets_say_where_they_are_and_never_what() -> None:
    config = read("secrets: {a: {env: A}, b: {file: b.txt}}")
    assert config.secrets == {"a": SecretConfig(env="A"), "b": SecretConfig(file=HERE / "b.txt")}
    for text in ("secrets: {a: hush}", "secrets: {a: {value: hush}}", "secrets: {a: {env: A, file: b}}"):
        message = refusal(text)
        assert "hush" not in message
        assert "stepflow-config.yml:1:" in message


def test_limits_of_processes_are_read() -> None:
    config = read("plugins: {p: {type: stepflow, command: x, limits: {memoryMb: 512, openFiles: '${N}'}}}", N="64")
    python = config.plugins["p"]
    assert isinstance(python, StdioConfig)
    assert python.limits == ProcessLimits(memory_mb=512, open_files=64)
    assert "unknown field `memory`" in refusal("plugins: {p: {type: stepflow, command: x, limits: {memory: 1}}}")


def test_an_unknown_field_is_a_warning_with_its_place() -> None:
    assert read("workbench: {}").warnings == (
        "stepflow-config.yml:1:12: 'workbench' is not a field of a configuration; it is ignored.",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugins: {a: {type: mpc}}", "stepflow-config.yml:1:21: There is no plugin type 'mpc'; use one of builtin"),
        ("telemetry: {sampleRatio: 2}", "sampleRatio"),
        ("plugins: {a: {type: mcp}}", 'An MCP plugin needs exactly one of "command" and "url".'),
        ("plugins: {a: {type: mcp, command: npx, url: 'http://h/mcp'}}", "exactly one of"),
        ("plugins: {a: {type: mcp, url: 'tcp://h:1'}}", "is no address of an MCP server"),
        ("plugins: {a: {type: mcp, url: 'http://h/mcp', tokenFile: t}}", "sent to another machine only over https"),
        ("plugins: {a: {}}", "The plugin has no type"),
        ("plugins: {a: {type: stepflow}}", 'exactly one of "command", "url" and "accept"'),
        ("plugins: {a: {type: stepflow, command: x, url: 'tcp://a:1'}}", "exactly one"),
        ("plugins: {a: {type: stepflow, url: 'tcp://a:1', tls: {}}}", '"tls" needs a url that begins with tls://'),
        ("plugins: {a: {type: stepflow, url: 'tls://a:1', tls: {cas: x}}}", "unknown field `cas`"),
        ("listen: {tls: {cert: 1}}", "cannot be used"),
        ("listen: {rpc: '0.0.0.0:1', tokenFile: t}", "`listen.tls` is missing"),
        ("plugins: {a: {type: stepflow, url: 'ftp://a'}}", 'The url "ftp://a" cannot be read'),
        ("plugins: {a: {type: stepflow, command: x, transport: http}}", "The transport 'http' is not supported"),
        ("plugins: {a: {type: stepflow, command: x, processes: 0}}", "'processes' cannot be used"),
        ("plugins: {a: {type: stepflow, comand: x, command: y}}", "did you mean 'command'?"),
        ("plugins: {a: {type: mock, components: {/x: {behaviors: 1}}}}", "must be a list of {input, result}"),
        ("routes: {/a: [{plugin: a}]}", "There is no plugin 'a'"),
        ("plugins: {b: {type: builtin}}\nroutes: {a: [{plugin: b}]}", 'The route "a" cannot be read'),
        ("plugins: {b: {type: builtin}}\nroutes: {/a: [{plugin: b, input: 1}]}", "'input' is not supported in a route"),
        ("storage: {type: postgres, dsn: x}", "PostgreSQL is not supported in this version"),
        ("storage: {type: redis}", "There is no storage type 'redis'"),
        ("listen: {rpc: '0.0.0.0:1'}", "can be reached from other machines"),
        ("listen: {rpc: nonsense}", 'The address "nonsense" cannot be read'),
        ("limits: {maxBatches: 1}", "stepflow-config.yml:1:22: 'maxBatches' is not a field of limits; did you mean"),
        ("limits: {maxBatch: 0}", "stepflow-config.yml:1:20: 'maxBatch' cannot be used"),
        ("limits: {maxBatch: many}", "'maxBatch' cannot be used"),
        ("limits: {maxFrameBytes: 67108864}", "must be at least twice maxFrameBytes"),
        ("retry: {transportMaxRetries: -1}", "a whole number, 0 or more"),
        ("a: 1\na: 2", "stepflow-config.yml:2:1: The key 'a' occurs twice"),
        ("[1]", "A configuration is a mapping"),
        (
            "storage: {path: '${STATE}'}",
            "The environment variable STATE is not set; set it, or write ${STATE:-default}",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, said: str) -> None:
    message = refusal(text)
    assert said in message
    assert message.startswith("stepflow-config.yml:")


# --- where it comes from ---


def test_without_a_file_there_are_builtins_and_state_here(folder: Path) -> None:
    config = obtain_config()
    assert config.source is None
    assert config.plugins == {"builtin": BuiltinConfig()}
    assert config.storage == SqliteStorage(path=folder / ".stepflow" / "state.db")
    assert str(config.storage) == ".stepflow/state.db"


def test_the_nearest_file_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = write(folder / "stepflow-config.yml", "listen: {rpc: '127.0.0.1:1'}")
    beside = write(folder / "flows" / "stepflow-config.yml", "listen: {rpc: '127.0.0.1:2'}")
    named = write(folder / "env.yml", "listen: {rpc: '127.0.0.1:3'}")
    flag = write(folder / "flag.yml", "listen: {rpc: '127.0.0.1:4'}")
    flow = folder / "flows" / "flow.yaml"
    assert obtain_config().source == Path(here.name)
    assert obtain_config(flow=flow).source == beside
    monkeypatch.setenv("STEPFLOW_CONFIG", str(named))
    assert obtain_config(flow=flow).source == named
    assert obtain_config(flag, flow=flow).source == flag


def test_relative_paths_are_relative_to_the_file(folder: Path) -> None:
    config = obtain_config(write(folder / "etc" / "c.yml", "storage: {path: var/state.db}"))
    assert config.storage == SqliteStorage(path=folder / "etc" / "var" / "state.db")


def test_the_environment_goes_over_the_file(folder: Path) -> None:
    path = write(folder / "c.yml", "storage: {type: memory}\nlisten: {rpc: '127.0.0.1:1', http: '127.0.0.1:2'}")
    environ = {"STEPFLOW_STORAGE_PATH": "x.db", "STEPFLOW_LISTEN_RPC": "127.0.0.1:9"}
    config = obtain_config(path, environ=environ)
    assert config.storage == SqliteStorage(path=folder / "x.db")
    assert (config.listen.rpc, config.listen.http) == ("127.0.0.1:9", "127.0.0.1:2")


def test_tokens_and_tls_stay_when_the_address_comes_from_elsewhere(folder: Path) -> None:
    path = write(folder / "c.yml", "listen: {rpc: '127.0.0.1:1', tokenFile: t, tls: {cert: c.pem}}")
    listen = obtain_config(path, environ={"STEPFLOW_LISTEN_RPC": "0.0.0.0:9"}).listen
    assert (listen.rpc, listen.token_file) == ("0.0.0.0:9", folder / "t")
    assert listen.tls == TlsFiles(cert=folder / "c.pem")
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        obtain_config(write(folder / "d.yml", "{}"), environ={"STEPFLOW_LISTEN_RPC": "0.0.0.0:9"})


def test_a_file_that_others_can_write_is_refused(folder: Path) -> None:
    path = write(folder / "c.yml", "{}", mode=0o602)
    with pytest.raises(ConfigError, match=r"can be written by others.*chmod go-w"):
        obtain_config(path)


def test_a_group_with_others_in_it_may_not_write(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    path = write(folder / "c.yml", "{}", mode=0o660)
    module = "stepflow_runtime.app.config_file._is_alone_in_group"
    monkeypatch.setattr(module, lambda uid, gid: False)
    assert may_be_written_by_others(path.stat())
    monkeypatch.setattr(module, lambda uid, gid: True)
    assert not may_be_written_by_others(path.stat())


def test_a_missing_file_says_what_to_do(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yml cannot be read: No such file.*--config"):
        obtain_config(Path("nowhere.yml"))
