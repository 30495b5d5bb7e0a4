"""An agent that plans a journey, turn by turn, and the tool that it asks."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from pathlib import Path

import trio
from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()

NOTES = Path(".stepflow")  # beside the state of the runtime

TRAINS = {"Basel": ("Zürich", 53), "Zürich": ("Lugano", 117), "Lugano": ("Milano", 77), "Milano": ("Trieste", 256)}


class Journey(Struct):
    start: str
    goal: str


class Leg(Struct):
    """What the tool says."""

    to: str
    minutes: int


class Decision(Struct):
    """What the model says: where to look on, or that it knows enough."""

    ask_about: str | None


@server.component
async def travel(journey: Journey, ctx: StepflowContext) -> dict[str, object]:
    """Plans a journey. Executed again it thinks no thought twice: decisions are kept, and the tool's answers too."""
    turns = ctx.stream("turns")
    legs: list[Leg] = []
    for turn in count(1):
        decision = await ctx.checkpoint(f"turn {turn}", partial(ask_model, journey, legs), Decision)
        if decision.ask_about is None:
            break
        asked = await ctx.submit_run(flow="tool.yaml", inputs=[decision.ask_about], wait=True)
        assert asked.results is not None
        legs.append(Leg(**asked.results[0].result.value))
        await turns.write({"turn": turn, "from": decision.ask_about, "to": legs[-1].to})
    await turns.close()
    return {"via": [leg.to for leg in legs], "minutes": sum(leg.minutes for leg in legs)}


async def ask_model(journey: Journey, legs: list[Leg]) -> Decision:
    """Stands for a language model: slow, and each answer costs, so it is noted."""
    await trio.sleep(0.3)
    here = legs[-1].to if legs else journey.start
    note_answer(here)
    return Decision(None if here == journey.goal else here)


def note_answer(city: str) -> None:
    with (NOTES / "model.log").open("a") as log:
        log.write(f"{city}\n")


@server.component
def trains(city: str) -> Leg:
    """The tool: where the next train goes."""
    return Leg(*TRAINS[city])


if __name__ == "__main__":
    (NOTES / "server.pid").write_text(str(os.getpid()))
    server.run()
