"""Publishing: a component submits a run, does something else meanwhile, and comes back for the results."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


class Chapter(Struct):
    text: str


class Document(Struct):
    title: str
    chapters: list[Chapter]


class Count(Struct):
    words: int


class Published(Struct):
    title_page: str
    chapter_words: list[int]
    polls: int


@server.component
async def publish(document: Document, ctx: StepflowContext) -> Published:
    """Submits the counting, sets the title page, and looks how far the counting is until it has ended."""
    run = await ctx.submit_run(flow="chapter.yaml", inputs=document.chapters, wait=False)
    title_page = document.title.upper().center(40).rstrip()
    polls = 1
    while (await ctx.get_run(run.run_id, wait=True, timeout_s=30)).completed_at is None:
        polls += 1
    counted = await ctx.get_run(run.run_id, include_results=True)
    return Published(title_page, [entry.result.value for entry in counted.results or []], polls)


@server.component
async def count_words(chapter: Chapter) -> Count:
    """Counts the words of one chapter."""
    return Count(len(chapter.text.split()))


if __name__ == "__main__":
    server.run()
