"""Starts a run and follows its progress on the terminal while it goes on; the book is there at the end."""

from __future__ import annotations

from component_sdk import connect

with connect(config="stepflow-config.yml") as client:
    run = client.start("flow.yaml", inputs=[{"title": "The Art of Waiting", "pages": 5}])
    for chunk in run.stream("progress"):
        done = "#" * chunk["page"]
        print(f"[{done:<{chunk['of']}}] page {chunk['page']} of {chunk['of']}", flush=True)
    print(run.return_value())
    (book,) = run.artifacts()
    print(f"{book.name} ({book.mime_type}):")
    print(client.get_blob(book.blob_id).decode())
