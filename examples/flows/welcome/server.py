"""A directory that fails twice before it answers, a rating that some customers do not get, and greetings."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer, ResourceUnavailable, StepflowContext

server = ComponentServer()

FIRST_NAMES = {"ada@example.org": "Ada", "grace@example.org": "Grace"}
POINTS = {"ada@example.org": 97, "grace@example.org": 64}


class Customer(Struct):
    email: str


class Entry(Struct, rename="camel"):
    first_name: str | None
    attempts: int


class Rating(Struct, rename="camel"):
    points: int
    is_trusted: bool


class Draft(Struct):
    kind: str
    name: str
    shop: str


class Message(Struct):
    text: str


@server.component
async def look_up(customer: Customer, ctx: StepflowContext) -> Entry:
    """Finds a customer's first name; the directory of grace@example.org only answers at the third attempt."""
    if customer.email.startswith("grace") and ctx.attempt < 3:
        raise ResourceUnavailable("the directory does not answer")
    return Entry(FIRST_NAMES.get(customer.email), ctx.attempt)


@server.component
async def rate(customer: Customer) -> Rating:
    """Rates a customer; new ones have no rating yet."""
    points = POINTS[customer.email]
    return Rating(points, is_trusted=points > 90)


@server.component
async def write_message(draft: Draft) -> Message:
    """Writes a greeting."""
    greeting = {"sms": "Hi {}, welcome to {}!", "letter": "Dear {}, it is our pleasure to welcome you to {}."}
    return Message(greeting[draft.kind].format(draft.name, draft.shop))


if __name__ == "__main__":
    server.run()
