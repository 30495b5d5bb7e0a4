"""The layer rule: the contracts of `[tool.importlinter]` in pyproject.toml are kept, and none of them is idle."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import grimp
import pytest
from importlinter import Contract, ContractCheck
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

PYPROJECT: Final = Path(__file__).parent.parent / "pyproject.toml"
CONFIGURATION: Final[dict[str, Any]] = read_configuration(str(PYPROJECT))
CONTRACTS: Final[dict[str, dict[str, Any]]] = {options["id"]: options for options in CONFIGURATION["contracts_options"]}
KINDS: Final[dict[str, type[Contract]]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}

BREACHES: Final = {
    "sides": [("component_sdk.run", "stepflow_runtime.model.flow"), ("protocol.peer", "component_sdk.run")],
    "runtime": [
        ("stepflow_runtime.engine.executor", "stepflow_runtime.store.sqlite"),
        ("stepflow_runtime.model.flow", "stepflow_runtime.ports"),
        ("stepflow_runtime.web.rpc", "stepflow_runtime.services.runs"),
    ],
    "pure": [("stepflow_runtime.engine.run_state", "time"), ("protocol.peer", "trio")],
    "jsonrpcserver": [("protocol.link", "jsonrpcserver")],
    "database": [("stepflow_runtime.engine.executor", "apsw")],
    "http": [("stepflow_runtime.services.runs", "starlette")],
    "mcp": [("stepflow_runtime.connect.supervisor", "mcp")],
    "otel": [("stepflow_runtime.engine.executor", "opentelemetry")],
    "light": [("component_sdk.run", "apsw")],
    "circles": [("protocol.errors", "protocol.link")],
}
"""For each contract, imports that it exists to refuse."""


@pytest.mark.parametrize("contract_id", CONTRACTS)
def test_a_contract_is_kept(contract_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    contract, result = _check(contract_id, _read_imports())
    if not result.kept:
        contract.render_broken_contract(result)
        pytest.fail(f"{contract.name}\n{capsys.readouterr().out}")


@pytest.mark.parametrize(
    ("contract_id", "importer", "imported"),
    [(contract_id, *breach) for contract_id, breaches in BREACHES.items() for breach in breaches],
)
def test_a_contract_notices_a_breach(contract_id: str, importer: str, imported: str) -> None:
    imports = deepcopy(_read_imports())
    assert importer in imports.modules, f"{importer} is gone; choose another breach"
    imports.add_import(importer=importer, imported=imported)
    _, result = _check(contract_id, imports)
    assert not result.kept


def test_each_contract_has_a_breach() -> None:
    assert BREACHES.keys() == CONTRACTS.keys()


@cache
def _read_imports() -> grimp.ImportGraph:
    packages: list[str] = CONFIGURATION["session_options"]["root_packages"]
    return grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)


def _check(contract_id: str, imports: grimp.ImportGraph) -> tuple[Contract, ContractCheck]:
    options = CONTRACTS[contract_id]
    contract = KINDS[options["type"]](
        name=options["name"], session_options=CONFIGURATION["session_options"], contract_options=options
    )
    return contract, contract.check(imports, verbose=False)
