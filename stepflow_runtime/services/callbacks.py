"""The runtime's services as the built-in components call them: without a wire, for the calling execution.

As there is no wire, inputs of sub-runs may hold tokens of secrets; what these stand for is passed on with them.
"""

from __future__ import annotations

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.runs import GetRunParams, RunStatus, SubmitParams
from protocol.types import BlobType
from stepflow_runtime.ports import Execution
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.refusal import RETRY_MS
from stepflow_runtime.services.runs import RunService

PRINCIPAL = "builtin"


class ServiceCallbacks:
    """Implements `connect.components.Callbacks`."""

    def __init__(self, runs: RunService, blobs: BlobService) -> None:
        self._runs = runs
        self._blobs = blobs

    async def put_blob(self, data: bytes, blob_type: BlobType) -> str:
        while True:
            try:
                return await self._blobs.put_raw(data, blob_type)
            except RpcError as error:  # as the SDK does for components
                if error.code != ErrorCode.THROTTLED:
                    raise
            await trio.sleep(RETRY_MS / 1000)

    async def get_blob(self, blob_id: str) -> bytes:
        return await self._blobs.get_json(blob_id)

    async def submit_run(self, execution: Execution, params: SubmitParams) -> RunStatus:
        return await self._runs.submit_for(execution, params, PRINCIPAL, secrets=execution.secrets)

    async def get_run(self, execution: Execution, params: GetRunParams) -> RunStatus:
        return await self._runs.get_for(execution, params)
