"""`/v1/responses` of OpenAI: how an answer is written."""

from __future__ import annotations

from typing import Any

import orjson

from swarm.provider.apis.api import Story
from swarm.provider.apis.chat import chances
from swarm.provider.apis.events import END, event, framed
from swarm.provider.apis.openai import told_apart
from swarm.provider.content import Json
from swarm.provider.fingerprints import TOKEN_BYTES

UNSET: Json = {
    "error": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def answer_id(story: Story) -> str:
    """Return what an answer is called."""
    return f"resp_{story.number}"


def usage(story: Story) -> Json:
    """Return the tokens of a request that has ended."""
    use = story.caches[0]
    return {
        "input_tokens": use.prompt_tokens,
        "input_tokens_details": {"cached_tokens": use.cached_tokens, **told_apart(story)},
        "output_tokens": story.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": use.prompt_tokens + story.output_tokens,
    }


def status(story: Story) -> str:
    """Return how an answer ended."""
    return "incomplete" if story.replies[0].finish == "length" else "completed"


def response(story: Story, state: str) -> Json:
    """Return the object that all of it is about; only at its end it has an output."""
    is_over = state in ("completed", "incomplete")
    return {
        **UNSET,
        **story.ask.echoed,
        "id": answer_id(story),
        "object": "response",
        "created_at": story.created_unix_s,
        "status": state,
        "incomplete_details": {"reason": "max_output_tokens"} if state == "incomplete" else None,
        "model": story.model,
        "output": items(story) if is_over else [],
        "usage": usage(story) if is_over else None,
    }


def items(story: Story) -> list[Json]:
    """Return the output: a message, or calls."""
    return [item(story, "whole", place) for place in range(max(1, len(story.replies[0].calls)))]


def item(story: Story, stage: str, place: int = 0) -> Json:
    """Return an item of the output, "begun" or "whole"."""
    reply = story.replies[0]
    is_whole = stage == "whole"
    state = status(story) if is_whole else "in_progress"
    if reply.calls:
        call = reply.calls[place]
        arguments = call.told(0, reply.tokens).decode() if is_whole else ""
        return {
            "id": f"fc_{story.number}_{place}",
            "type": "function_call",
            "status": state,
            "call_id": f"call_{call.call_id}",
            "name": call.name,
            "arguments": arguments,
        }
    content = [part(story, reply.shown.decode())] if is_whole else []
    return {
        "id": f"msg_{story.number}",
        "type": "message",
        "status": state,
        "role": "assistant",
        "content": content,
    }


def part(story: Story, text: str) -> Json:
    """Return the one part of a message."""
    found: list[Any] = []
    if story.ask.logprobs is not None and text:
        told = chances(story.replies[0], 0, story.replies[0].tokens, story.ask.logprobs)
        found = [] if told is None else told["content"]
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": found}


def _place(story: Story, place: int) -> Json:
    return {"item_id": item(story, "begun", place)["id"], "output_index": place}


class ResponseEvents:
    """The events of a response, each with its number."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._sent = 0
        self._in_part: Json = {**_place(story, 0), "content_index": 0}
        self._made: tuple[bytes, bytes] | None = None

    def opening(self) -> bytes:
        """Return what says that the response is under way."""
        return b"".join(
            [
                self._event("response.created", response=response(self._story, "in_progress")),
                self._event("response.in_progress", response=response(self._story, "in_progress")),
            ]
        )

    def first(self, place: int) -> bytes:
        """Return the start of the first item, and of its part."""
        added = self._added(0)
        if self._story.replies[0].calls:
            return added
        return added + self._event("response.content_part.added", **self._in_part, part=part(self._story, ""))

    def _added(self, place: int) -> bytes:
        """Return the start of an item."""
        begun = item(self._story, "begun", place)
        return self._event("response.output_item.added", output_index=place, item=begun)

    def _called(self, place: int) -> bytes:
        """Return the end of a call."""
        whole_item = item(self._story, "whole", place)
        told = self._event(
            "response.function_call_arguments.done",
            **_place(self._story, place),
            name=whole_item["name"],
            arguments=whole_item["arguments"],
        )
        return told + self._event("response.output_item.done", output_index=place, item=whole_item)

    def tokens(self, place: int, start: int, end: int) -> bytes:
        """Return the events of the tokens [start, end)."""
        reply = self._story.replies[0]
        if (
            not reply.is_prose
            or self._story.ask.logprobs is not None
            or TOKEN_BYTES * end > reply.shown_bytes
        ):
            return b"".join([self._slowly(at) for at in range(start, end)])
        before, after = self._made = self._made or self._pieces()
        found = []
        for at in range(start, end):
            text = reply.text[TOKEN_BYTES * at : TOKEN_BYTES * at + TOKEN_BYTES]
            data = b"%b%b%b%d}\n\n" % (before, text, after, self._sent)
            self._sent += 1
            found.append(framed(data, self._story.is_chunked))
        return b"".join(found)

    def last(self, place: int) -> bytes:
        """Return the ends of part, item and response."""
        story, calls = self._story, self._story.replies[0].calls
        state = status(story)
        told = self._called(len(calls) - 1) if calls else self._said()
        return told + self._event(f"response.{state}", response=response(story, state))

    def _said(self) -> bytes:
        """Return the end of a message."""
        whole_item = item(self._story, "whole")
        found = whole_item["content"][0]
        return b"".join(
            [
                self._event(
                    "response.output_text.done",
                    **self._in_part,
                    text=found["text"],
                    logprobs=found["logprobs"],
                ),
                self._event("response.content_part.done", **self._in_part, part=found),
                self._event("response.output_item.done", output_index=0, item=whole_item),
            ]
        )

    def closing(self) -> bytes:
        """Return the end of the stream."""
        return END if self._story.is_chunked else b""

    def failed(self, message: str) -> bytes:
        """Return an error as the last event."""
        return self._event("error", code="server_error", message=message, param=None)

    def _slowly(self, at: int) -> bytes:
        reply = self._story.replies[0]
        if reply.calls:
            place = reply.call_at(at)
            call = reply.calls[place]
            between = self._called(place - 1) + self._added(place) if place and at == call.start else b""
            given = call.told(at, at + 1).decode()
            name = "response.function_call_arguments.delta"
            return between + (self._event(name, **_place(self._story, place), delta=given) if given else b"")
        text = reply.piece(at, at + 1).decode()
        if not text:
            return b""
        found: list[Any] = []
        if self._story.ask.logprobs is not None:
            told = chances(reply, at, at + 1, self._story.ask.logprobs)
            found = [] if told is None else told["content"]
        return self._event("response.output_text.delta", **self._in_part, delta=text, logprobs=found)

    def _pieces(self) -> tuple[bytes, bytes]:
        """Return the bytes of a delta's event before its text, and those up to its number."""
        name = "response.output_text.delta"
        data = event({"type": name, **self._in_part, "logprobs": [], "delta": "", "sequence_number": 0}, name)
        before, _, after = data.partition(b'"delta":"')
        return before + b'"delta":"', after[: -len(b"0}\n\n")]

    def _event(self, kind: str, /, **members: Any) -> bytes:
        number, self._sent = self._sent, self._sent + 1
        data = {"type": kind, **members, "sequence_number": number}
        return framed(event(data, kind), self._story.is_chunked)


def whole(story: Story) -> bytes:
    """Return the body of an answer that is not streamed."""
    return orjson.dumps(response(story, status(story)))
