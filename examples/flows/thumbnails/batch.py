"""A batch from a plain script: results are printed as they come in, the quick ones first."""

from __future__ import annotations

from component_sdk import connect

PICTURES = [
    {"name": "poster.png", "width": 6000, "height": 4000},
    {"name": "icon.png", "width": 32, "height": 32},
    {"name": "holiday.jpg", "width": 4000, "height": 3000},
    {"name": "portrait.jpg", "width": 2000, "height": 3000},
]

with connect(config="stepflow-config.yml") as client:
    run = client.start("flow.yaml", inputs=PICTURES, max_concurrency=10)
    for entry in run.results(order="byCompletion"):
        name = PICTURES[entry.item_index]["name"]
        if entry.result.error is not None:
            print(f"{name}: {entry.result.error.message}")
        else:
            print(f"{name}: {entry.result.value['width']} x {entry.result.value['height']}")
    print(f"{run.items.success} of {run.items.total} done")
