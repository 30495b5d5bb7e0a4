"""A component server that ends when it is called, or at once: `crashing_server.py [now]`. Stdlib only."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

if "now" in sys.argv:
    sys.exit("cannot start: no licence")

for line in sys.stdin:
    request = json.loads(line)
    result: Any
    match request["method"]:
        case "initialize":
            result = {"server_protocol_version": 1}
        case "components/list":
            result = {"components": [{"component": "/die"}, {"component": "/echo"}]}
        case "components/execute" if request["params"]["component"] == "/echo":
            result = {"output": request["params"]["input"]}
        case "components/execute":
            print("the disk is gone", file=sys.stderr, flush=True)
            os._exit(3)
        case _:
            continue
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
