"""Names of things, as distinct types. All are opaque strings to peers; the runtime makes them."""

from __future__ import annotations

from typing import NewType

RunId = NewType("RunId", str)
"""A UUIDv7, lower case."""

BlobId = NewType("BlobId", str)
"""`blake3:` and 64 hex digits."""

ExecutionId = NewType("ExecutionId", str)
"""One attempt of one step: unguessable, so that who knows it may act for it."""

StepId = NewType("StepId", str)
"""Unique within a flow."""
