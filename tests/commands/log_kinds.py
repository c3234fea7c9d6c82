"""Writers of agents' own logs, one a kind, for tests of what commands make of them: equal turns in each."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SESSIONS, TURNS = 8, 3
BEGUN_S = 1_772_359_200.0
BLOCK = 640
"""Tokens that a turn adds: whole blocks of every kind of log."""


@dataclass(frozen=True)
class Turn:
    """One request; what it reads is what the one before had."""

    session: int
    number: int

    @property
    def at_s(self) -> float:
        return BEGUN_S + 1000 * self.session + 20 * self.number

    @property
    def inputs(self) -> int:
        return 2 * BLOCK + BLOCK * self.number

    @property
    def read(self) -> int:
        return self.inputs - BLOCK

    @property
    def outputs(self) -> int:
        return 50 + self.session

    @property
    def name(self) -> str:
        return f"r{self.session}-{self.number}"

    @property
    def who(self) -> str:
        return f"s{self.session}"

    def iso(self, after_s: float = 0.0) -> str:
        return datetime.fromtimestamp(self.at_s + after_s, UTC).isoformat().replace("+00:00", "Z")

    def ms(self, after_s: float = 0.0) -> int:
        return round(1000 * (self.at_s + after_s))

    def ids(self, tokens: int) -> list[int]:
        return [1000 * self.session + place for place in range(-(-self.inputs // tokens))]

    def words(self) -> str:
        """Return a prompt of four bytes a token that continues the one before."""
        return "".join(f"{self.session:02d}{place:06d}" for place in range(self.inputs // 2))


def turns() -> Iterator[Turn]:
    for session in range(SESSIONS):
        for number in range(TURNS):
            yield Turn(session, number)


def lines(folder: Path, name: str, values: list[Any]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def by_session(
    folder: Path, name: str, head: Callable[[Turn], list[Any]], of: Callable[[Turn], list[Any]]
) -> None:
    for session in range(SESSIONS):
        own = [Turn(session, number) for number in range(TURNS)]
        lines(folder, name.format(session), head(own[0]) + [line for turn in own for line in of(turn)])


def claude_code(folder: Path) -> None:
    def of(turn: Turn) -> list[Any]:
        usage = {
            "input_tokens": 0,
            "cache_read_input_tokens": turn.read,
            "cache_creation_input_tokens": BLOCK,
            "output_tokens": turn.outputs,
        }
        person = {"role": "user", "content": "words"}
        reply = {"id": turn.name, "model": "m", "content": [], "usage": usage, "stop_reason": "tool_use"}
        ask, answer = {"uuid": f"u{turn.name}"}, {"uuid": f"a{turn.name}", "parentUuid": f"u{turn.name}"}
        return [
            {"type": "user", "timestamp": turn.iso(), "message": person, **ask},
            {"type": "assistant", "timestamp": turn.iso(4), "message": reply, **answer},
        ]

    by_session(folder, "projects/-p/s{}.jsonl", lambda turn: [], of)


def codex(folder: Path) -> None:
    def line(turn: Turn, kind: str, payload: dict[str, Any], after_s: float = 0.0) -> dict[str, Any]:
        return {"timestamp": turn.iso(after_s), "type": kind, "payload": payload}

    def of(turn: Turn) -> list[Any]:
        past = [Turn(turn.session, number) for number in range(turn.number + 1)]
        sums = {
            "input_tokens": sum(each.inputs for each in past),
            "cached_input_tokens": sum(each.read for each in past),
            "output_tokens": sum(each.outputs for each in past),
        }
        sums["total_tokens"] = sums["input_tokens"] + sums["output_tokens"]
        count = {"type": "token_count", "info": {"total_token_usage": sums}}
        tool = {"type": "function_call_output"}
        return [line(turn, "response_item", tool), *[line(turn, "event_msg", count, 4)] * 2]

    def head(turn: Turn) -> list[Any]:
        meta = line(turn, "session_meta", {"id": turn.who, "cwd": "/p"}, -1)
        return [meta, line(turn, "turn_context", {"model": "m"}, -1)]

    by_session(folder, "rollout-{}.jsonl", head, of)


def otel(folder: Path) -> None:
    def value(said: Any) -> dict[str, Any]:
        return {"intValue": str(said)} if type(said) is int else {"stringValue": said}

    spans = [
        {
            "traceId": turn.who,
            "spanId": turn.name,
            "attributes": [
                {"key": key, "value": value(said)}
                for key, said in {**genai(turn), "gen_ai.conversation.id": turn.who}.items()
            ],
            "startTimeUnixNano": str(turn.ms() * 10**6),
            "endTimeUnixNano": str(turn.ms(4) * 10**6),
        }
        for turn in turns()
    ]
    lines(folder, "spans.json", [{"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}])


def genai(turn: Turn) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": turn.inputs,
        "gen_ai.usage.output_tokens": turn.outputs,
        "gen_ai.usage.cache_read.input_tokens": turn.read,
    }


def flat_spans(folder: Path) -> None:
    for session in range(SESSIONS):
        own = [Turn(session, number) for number in range(TURNS)]
        spans = [
            {
                "span_id": turn.name,
                "name": "chat m",
                "attributes": genai(turn),
                "start_time": turn.iso().removesuffix("Z"),
                "end_time": turn.iso(4).removesuffix("Z"),
            }
            for turn in own
        ]
        lines(folder, f"t{session}.json", [{"trace_id": f"s{session}", "spans": spans}])


def litellm(folder: Path) -> None:
    rows = [
        {
            "request_id": turn.name,
            "call_type": "acompletion",
            "session_id": turn.who,
            "startTime": turn.iso(),
            "endTime": turn.iso(4),
            "completionStartTime": turn.iso(1),
            "model": "m",
            "prompt_tokens": turn.inputs,
            "completion_tokens": turn.outputs,
            "status": "success",
            "metadata": json.dumps({"usage_object": {"prompt_tokens_details": {"cached_tokens": turn.read}}}),
        }
        for turn in turns()
    ]
    lines(folder, "spend.jsonl", rows)


def bodies(request: Callable[[str], dict[str, Any]], usage: Callable[[Turn], dict[str, Any]]) -> Any:
    def write(folder: Path) -> None:
        rows = [
            {
                "timestamp": turn.at_s,
                "duration_ms": 4000,
                "session_id": turn.who,
                "request": {"model": "m", **request(turn.words())},
                "response": {"id": turn.name, "usage": usage(turn)},
            }
            for turn in turns()
        ]
        lines(folder, "bodies.jsonl", rows)

    return write


def chat_usage(turn: Turn) -> dict[str, Any]:
    cached = {"cached_tokens": turn.read}
    return {"prompt_tokens": turn.inputs, "completion_tokens": turn.outputs, "prompt_tokens_details": cached}


def messages_usage(turn: Turn) -> dict[str, Any]:
    read = {"cache_read_input_tokens": turn.read, "cache_creation_input_tokens": BLOCK}
    return {"input_tokens": 0, "output_tokens": turn.outputs, **read}


def responses_usage(turn: Turn) -> dict[str, Any]:
    cached = {"cached_tokens": turn.read}
    return {"input_tokens": turn.inputs, "output_tokens": turn.outputs, "input_tokens_details": cached}


def opencode(folder: Path) -> None:
    for turn in turns():
        counts = {"input": 0, "output": turn.outputs, "cache": {"read": turn.read, "write": BLOCK}}
        message = {
            "id": turn.name,
            "sessionID": turn.who,
            "role": "assistant",
            "time": {"created": turn.ms(), "completed": turn.ms(4)},
            "modelID": "m",
            "tokens": counts,
        }
        lines(folder, f"storage/message/{turn.who}/{turn.name}.json", [message])


def gemini(folder: Path) -> None:
    for session in range(SESSIONS):
        own = [Turn(session, number) for number in range(TURNS)]
        said = [
            entry
            for turn in own
            for entry in (
                {"type": "user", "timestamp": turn.iso(), "content": "x"},
                {
                    "type": "gemini",
                    "id": turn.name,
                    "timestamp": turn.iso(4),
                    "model": "m",
                    "tokens": {"input": turn.inputs, "output": turn.outputs, "cached": turn.read},
                },
            )
        ]
        lines(
            folder,
            f"session-{session}.json",
            [{"sessionId": f"s{session}", "projectHash": "p", "messages": said}],
        )


def qwen(folder: Path) -> None:
    def of(turn: Turn) -> list[Any]:
        event = {
            "event.name": "qwen-code.api_response",
            "event.timestamp": turn.iso(4),
            "response_id": turn.name,
            "model": "m",
            "duration_ms": 4000,
            "input_token_count": turn.inputs,
            "output_token_count": turn.outputs,
            "cached_content_token_count": turn.read,
            "total_token_count": turn.inputs + turn.outputs,
        }
        line = {
            "type": "system",
            "subtype": "ui_telemetry",
            "uuid": turn.name,
            "sessionId": turn.who,
            "cwd": "/p",
        }
        return [{**line, "timestamp": turn.iso(4), "systemPayload": {"uiEvent": event}}]

    by_session(folder, "s{}.jsonl", lambda turn: [], of)


def kimi(folder: Path) -> None:
    def of(turn: Turn) -> list[Any]:
        usage = {
            "inputOther": BLOCK,
            "output": turn.outputs,
            "inputCacheRead": turn.read,
            "inputCacheCreation": 0,
        }
        event = {"type": "step.end", "uuid": turn.name, "usage": usage, "llmFirstTokenLatencyMs": 1000}
        return [{"type": "context.append_loop_event", "time": turn.ms(4), "event": event}]

    def head(turn: Turn) -> list[Any]:
        return [
            {"type": "metadata", "protocol_version": "1.4", "created_at": turn.ms(-1)},
            {"type": "llm.request", "model": "m"},
        ]

    by_session(folder, "s{}/agents/main/wire.jsonl", head, of)


def langfuse(folder: Path) -> None:
    rows = [
        {
            "id": turn.name,
            "type": "GENERATION",
            "traceId": turn.who,
            "sessionId": turn.who,
            "startTime": turn.iso(),
            "endTime": turn.iso(4),
            "model": "m",
            "usageDetails": {"input": BLOCK, "cache_read_input_tokens": turn.read, "output": turn.outputs},
        }
        for turn in turns()
    ]
    lines(folder, "observations.jsonl", rows)


def openrouter(folder: Path) -> None:
    rows = [
        {
            "data": {
                "id": turn.name,
                "created_at": turn.iso(),
                "model": "m",
                "session_id": turn.who,
                "generation_time": 4000,
                "native_tokens_prompt": turn.inputs,
                "native_tokens_cached": turn.read,
                "native_tokens_completion": turn.outputs,
            }
        }
        for turn in turns()
    ]
    lines(folder, "generations.jsonl", rows)


def dynamo(folder: Path) -> None:
    rows = [
        {
            "schema": "dynamo.request.trace.v1",
            "event_type": "request_end",
            "event_time_unix_ms": turn.ms(4),
            "agent_context": {"session_id": turn.who},
            "request": {
                "request_id": turn.name,
                "model": "m",
                "input_tokens": turn.inputs,
                "output_tokens": turn.outputs,
                "cached_tokens": turn.read,
                "request_received_ms": turn.ms(),
                "total_time_ms": 4000,
                "replay": {
                    "trace_block_size": 64,
                    "input_length": turn.inputs,
                    "input_sequence_hashes": turn.ids(64),
                },
            },
        }
        for turn in turns()
    ]
    lines(folder, "trace.jsonl", rows)


def agentic(folder: Path) -> None:
    rows = []
    for turn in turns():
        row: dict[str, Any] = {
            "request_id": turn.name,
            "session_id": turn.who,
            "input_length": turn.inputs,
            "output_length": turn.outputs,
            "hash_ids": turn.ids(64),
        }
        before = Turn(turn.session, turn.number - 1).name
        row |= (
            {"wait_for": [before], "delay": 16_000}
            if turn.number
            else {"timestamp": turn.ms() - 1000 * BEGUN_S}
        )
        rows.append(row)
    lines(folder, "agentic.jsonl", rows)


def bailian(folder: Path) -> None:
    rows = []
    for turn in turns():
        number = 1 + turn.session * TURNS + turn.number
        rows.append(
            {
                "chat_id": number,
                "parent_chat_id": number - 1 if turn.number else -1,
                "timestamp": turn.at_s - BEGUN_S,
                "input_length": turn.inputs,
                "output_length": turn.outputs,
                "type": "text",
                "turn": turn.number + 1,
                "hash_ids": turn.ids(16),
            }
        )
    lines(folder, "bailian.jsonl", rows)


def tracelab(folder: Path) -> None:
    rows = [
        {
            "provider": "claude",
            "project": "p",
            "session_id": turn.who,
            "round_index": turn.number,
            "trace_key": turn.name,
            "model": "m",
            "input_tokens_total": turn.inputs,
            "prefix_tokens": turn.read,
            "newly_append_tokens": BLOCK,
            "claude_cache_creation_input_tokens": BLOCK,
            "output_tokens": turn.outputs,
            "timing_events": [
                {"event_type": "user_message", "timestamp": turn.iso()},
                {"event_type": "text", "timestamp": turn.iso(4)},
            ],
        }
        for turn in turns()
    ]
    lines(folder, "rounds.jsonl", rows)


def copilot(folder: Path) -> None:
    def line(kind: str, name: str, at: str, **data: Any) -> dict[str, Any]:
        return {"type": kind, "id": name, "parentId": None, "timestamp": at, "data": data}

    def of(turn: Turn) -> list[Any]:
        counts = {"inputTokens": turn.inputs, "cacheReadTokens": turn.read, "outputTokens": turn.outputs}
        return [
            line(
                "assistant.usage",
                turn.name,
                turn.iso(4),
                model="m",
                apiCallId=turn.name,
                duration=4000,
                **counts,
            )
        ]

    def head(turn: Turn) -> list[Any]:
        return [
            line("session.start", f"e{turn.who}", turn.iso(-1), sessionId=turn.who, context={"cwd": "/p"})
        ]

    by_session(folder, "{}/events.jsonl", head, of)


def pi(folder: Path) -> None:
    def of(turn: Turn) -> list[Any]:
        usage = {"input": 0, "output": turn.outputs, "cacheRead": turn.read, "cacheWrite": BLOCK}
        reply = {"role": "assistant", "model": "m", "usage": usage, "timestamp": turn.ms(), "content": []}
        line = {"type": "message", "id": turn.name, "parentId": None, "timestamp": turn.iso(4)}
        return [{**line, "message": reply}]

    def head(turn: Turn) -> list[Any]:
        return [{"type": "session", "version": 3, "id": turn.who, "timestamp": turn.iso(-1), "cwd": "/p"}]

    by_session(folder, "s{}.jsonl", head, of)


def capture(folder: Path) -> None:
    rows, numbers = [], {}
    for turn in turns():
        numbers[turn.name] = len(rows) + 1
        shared = 0 if turn.number == 0 else 4 * (turn.inputs - BLOCK) // 64
        hashes = [turn.session * 100_000 + place for place in range(shared, 4 * turn.inputs // 64)]
        rows.append(
            {
                "schema": "swarm.capture.v1",
                "number": len(rows) + 1,
                "api": "chat",
                "start_s": turn.at_s,
                "first_token_ms": 1000.0,
                "end_ms": 4000.0,
                "status": 200,
                "outcome": "ok",
                "model": "m",
                "session": turn.who,
                "agent": turn.who,
                "parent": "",
                "kind": "",
                "opened_by": "tool" if turn.number else "human",
                "input_tokens": turn.inputs,
                "read_tokens": turn.read,
                "output_tokens": turn.outputs,
                "content_bytes": 4 * turn.inputs,
                "base": numbers.get(f"r{turn.session}-{turn.number - 1}"),
                "shared": shared,
                "hashes": base64.b64encode(struct.pack(f"<{len(hashes)}Q", *hashes)).decode(),
            }
        )
    lines(folder, "capture.jsonl", rows)


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "claude_code": ("claude_code", claude_code),
    "codex": ("codex", codex),
    "otel": ("otel", otel),
    "flat_spans": ("otel", flat_spans),
    "litellm": ("litellm", litellm),
    "chat_bodies": (
        "bodies",
        bodies(lambda words: {"messages": [{"role": "user", "content": words}]}, chat_usage),
    ),
    "messages_bodies": (
        "bodies",
        bodies(lambda words: {"messages": [{"role": "user", "content": words}]}, messages_usage),
    ),
    "responses_bodies": ("bodies", bodies(lambda words: {"input": words}, responses_usage)),
    "opencode": ("opencode", opencode),
    "gemini": ("gemini", gemini),
    "qwen": ("qwen", qwen),
    "kimi": ("kimi", kimi),
    "langfuse": ("langfuse", langfuse),
    "openrouter": ("openrouter", openrouter),
    "dynamo": ("dynamo", dynamo),
    "agentic_mooncake": ("agentic_mooncake", agentic),
    "bailian": ("bailian", bailian),
    "tracelab": ("tracelab", tracelab),
    "copilot": ("copilot", copilot),
    "pi": ("pi", pi),
    "capture": ("capture", capture),
}
"""By a name: the format that it is recognised as, and what writes it."""
UNTOLD = ("agentic_mooncake", "bailian")
"""Kinds that count nothing of a cache."""
