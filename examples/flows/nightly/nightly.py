"""Submits the job, and receives what the runtime tells of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any

from component_sdk import connect

SHOPS = [{"name": "north", "sold": [4.5, 8.0]}, {"name": "south", "sold": [7.25]}]

told: SimpleQueue[dict[str, Any]] = SimpleQueue()


class Receiver(BaseHTTPRequestHandler):
    """Takes deliveries whose signature is right (Standard Webhooks)."""

    secret = b""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        signature = "v1," + base64.b64encode(hmac.digest(self.secret, signed, hashlib.sha256)).decode()
        is_genuine = hmac.compare_digest(signature, self.headers["webhook-signature"])
        self.send_response(204 if is_genuine else 401)
        self.end_headers()
        if is_genuine:
            told.put(json.loads(body)["data"])

    def log_message(self, *_: object) -> None:
        """Says nothing."""


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
Thread(target=receiver.serve_forever, daemon=True).start()

with connect(config="stepflow-config.yml") as client:
    webhook = client.register_webhook(f"http://127.0.0.1:{receiver.server_port}/", ["run.completed"])
    Receiver.secret = base64.b64decode((webhook.secret or "").removeprefix("whsec_"))
    job = client.submit_job(
        [
            {"flow": "shops.yaml", "inputs": SHOPS},
            {"flow": "report.yaml", "inputs": [{"day": "monday"}], "variables": {"currency": "CHF"}},
        ],
        name="nightly",
        wait=True,
    )
    print(f"{job.name}: {job.status}")
    events = {event["flowName"]: event for event in (told.get(timeout=30), told.get(timeout=30))}
    for name, event in sorted(events.items()):
        print(f"told: {name} is {event['details']['status']}")
        run = client.get_run(event["runId"])
        print(f"  gave {run.return_value()}")
        for artifact in run.artifacts():
            print(f"  {artifact.name}, {artifact.mime_type}, {artifact.size} bytes")
    client.delete_webhook(webhook.webhook_id)
