"""OpenTelemetry's GenAI spans: OTLP as JSON in its shapes, and spans with plain attributes.

One request is one span of a model's call. Agents' and tools' spans are its parents: they count it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.content import Content, content_of
from swarm.workload.formats.agent_logs.documents import as_json, first_of, text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

CALLS = ("chat", "text_completion", "generate_content", "completion")
INPUT = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens",
    "llm.token_count.prompt",
)
OUTPUT = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
    "llm.token_count.completion",
)  # fmt: skip
READ = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cached_input_tokens", "gen_ai.usage.input_tokens.cached",
    "llm.usage.cache_read_input_tokens", "llm.token_count.prompt_details.cache_read",
)  # fmt: skip
WRITTEN = (
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
    "llm.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write",
)  # fmt: skip
SESSION = ("gen_ai.conversation.id", "session.id", "exgentic.session.id", "langfuse.session.id", "thread.id")
MODEL = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name")
FIRST = ("gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_chunk")
WORDS = ("gen_ai.input.messages", "gen_ai.prompt", "llm.input_messages", "input.value")
BEFORE = ("gen_ai.system_instructions", "gen_ai.tool.definitions")
DEPTH_MAX = 1_000


@dataclass(slots=True)
class _Span:
    """What is kept of a span until all are known."""

    trace: str
    id: str
    parent: str
    file: Path
    place: str
    start_s: float | None
    end_s: float | None
    first_s: float | None
    said: dict[str, Any]
    """Its attributes, less the words."""
    content: Content | None


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the model's calls of all spans."""
    spans: dict[tuple[str, str], _Span] = {}
    for file, place, value in values:
        for number, (raw, resource) in enumerate(_spans(value)):
            try:
                span = _span(file, place, raw, resource, number)
            except ValueError as fault:
                on_broken(TraceError(shown_name(file), f"{place}, span {number + 1}", str(fault)))
                continue
            spans[(span.trace, span.id)] = span
    calls = {key: span for key, span in spans.items() if _is_call(span)}
    for key in _around(calls, spans):
        del calls[key]
        tally.read["spans around another call of a model, which count it again"] += 1
    beside = {_provider(span) for span in calls.values() if _is_beside(span)}
    for span in calls.values():
        yield _row(span, spans, tally, is_exclusive=_provider(span) in beside)
    if not calls and spans:
        tally.missing["spans of a model's calls"] += 1


def _spans(value: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each span of any shape, with the attributes of what sent it."""
    if type(value) is not dict:
        return
    for batch in _objects(first_of(value, "resourceSpans", "resource_spans", "batches")):
        resource = _attributes((batch.get("resource") or {}) if type(batch.get("resource")) is dict else {})
        for scope in _objects(first_of(batch, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")):
            for span in _objects(scope.get("spans")):
                yield span, resource
    for span in _objects(value.get("spans")):
        yield span, {}
    if first_of(value, "span_id", "spanId") is not None:
        yield value, {}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if type(value) is list:
        yield from (each for each in value if type(each) is dict)


def _span(file: Path, place: str, raw: dict[str, Any], resource: dict[str, Any], number: int) -> _Span:
    said = resource | _attributes({"attributes": raw.get("resource_attributes")}) | _attributes(raw)
    start_s = time_s(
        first_of(raw, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"), "start"
    )
    end_s = time_s(first_of(raw, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"), "end")
    words = [as_json(said.pop(name)) for name in (*BEFORE, *WORDS) if said.get(name)]
    first_s = None
    waited = first_of(said, *FIRST)
    if type(waited) in (int, float) and start_s is not None:
        first_s = start_s + waited
    for event in _objects(raw.get("events")):
        if "first" in text(event, "name") and "token" in text(event, "name"):
            first_s = time_s(first_of(event, "timeUnixNano", "time_unix_nano", "timestamp"), "event")
    context = raw.get("context") if type(raw.get("context")) is dict else raw
    return _Span(
        trace=text(context, "traceId", "trace_id") or file.name,
        id=text(context, "spanId", "span_id") or f"{file}\0{place}\0{number}",
        parent=text(raw, "parentSpanId", "parent_span_id", "parent_id"),
        file=file,
        place=place,
        start_s=start_s,
        end_s=end_s,
        first_s=first_s,
        said=said,
        content=content_of(words) if words and _is_named_call(said) else None,
    )


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    found = owner.get("attributes")
    if type(found) is dict:
        return dict(found)
    return {text(each, "key"): _plain(each.get("value"), 0) for each in _objects(found) if text(each, "key")}


def _plain(value: Any, depth: int) -> Any:
    """Return a value of OTLP as it is meant: {"intValue": "7"} is 7."""
    if type(value) is not dict or depth > 20:
        return value
    for name in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if name in value:
            found = value[name]
            return int(found) if name == "intValue" and type(found) is str and found.isdigit() else found
    if type(value.get("arrayValue")) is dict:
        members = value["arrayValue"].get("values")
        return [_plain(each, depth + 1) for each in members] if type(members) is list else []
    if type(value.get("kvlistValue")) is dict:
        members = _objects(value["kvlistValue"].get("values"))
        return {text(each, "key"): _plain(each.get("value"), depth + 1) for each in members}
    return None


def _is_named_call(said: dict[str, Any]) -> bool:
    operation = first_of(said, "gen_ai.operation.name", "llm.request.type", "openinference.span.kind")
    if type(operation) is str:
        return operation in CALLS or operation == "LLM"
    return text(said, *MODEL) != ""


def _is_call(span: _Span) -> bool:
    if not _is_named_call(span.said):
        return False
    has_name = first_of(span.said, "gen_ai.operation.name", "llm.request.type") is not None
    return has_name or first_of(span.said, *INPUT, *OUTPUT) is not None or span.content is not None


def _parents(span: _Span, spans: dict[tuple[str, str], _Span]) -> Iterator[tuple[str, str]]:
    at, steps = (span.trace, span.parent), 0
    while at in spans and steps < DEPTH_MAX:
        yield at
        at, steps = (span.trace, spans[at].parent), steps + 1


def _around(calls: dict[tuple[str, str], _Span], spans: dict[tuple[str, str], _Span]) -> set[tuple[str, str]]:
    """Return the calls that are parents of calls: two libraries have both written one down."""
    return {
        key
        for own, span in calls.items()
        for key in _parents(span, spans)
        if key in calls and key != own and _encloses(calls[key], span)
    }


def _encloses(outer: _Span, inner: _Span) -> bool:
    """Say whether a span ran around another: a call that follows another may name it as its parent, too."""
    if outer.start_s is None or outer.end_s is None or inner.start_s is None:
        return True
    return outer.start_s <= inner.start_s and (inner.end_s or inner.start_s) <= outer.end_s


def _provider(span: _Span) -> str:
    return text(span.said, "gen_ai.provider.name", "gen_ai.system", "llm.provider")


def _is_beside(span: _Span) -> bool:
    """Say whether a span's input does not hold what was cached: then a part of it is more than the whole."""
    try:
        counts = [tokens(first_of(span.said, *names), names[0]) or 0 for names in (INPUT, READ, WRITTEN)]
    except ValueError:
        return False
    return counts[1] + counts[2] > counts[0]


def _row(span: _Span, spans: dict[tuple[str, str], _Span], tally: Tally, *, is_exclusive: bool) -> Row:
    said = span.said
    inputs, outputs, read, written = (_tokens(said, names, tally) for names in (INPUT, OUTPUT, READ, WRITTEN))
    above = [spans[key] for key in _parents(span, spans)]
    agents = [each for each in above if each.said.get("gen_ai.operation.name") == "invoke_agent"]
    session = next((found for each in (span, *above) if (found := text(each.said, *SESSION))), span.trace)
    is_sub = len(agents) > 1
    stops = first_of(said, "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason")
    stop = stops[0] if type(stops) is list and stops else stops
    if is_exclusive:
        tally.inferred[
            "inputs counted beside the cached ones, as some of the provider's are less than those"
        ] += 1
    return Row(
        session=session,
        agent=agents[0].id if is_sub else "",
        kind=text(agents[0].said, "gen_ai.agent.name", "gen_ai.agent.id") if is_sub else "",
        request=request_of(
            start_s=span.start_s,
            end_s=span.end_s,
            first_s=span.first_s,
            model=text(said, *MODEL),
            inputs=inputs,
            read=read,
            written=written,
            outputs=outputs,
            stop=stop if type(stop) is str else None,
            is_exclusive=is_exclusive,
            tally=tally,
        ),
        project=text(said, "service.name"),
        content=span.content,
        id=f"{span.trace}\0{span.id}",
    )


def _tokens(said: dict[str, Any], names: tuple[str, ...], tally: Tally) -> int | None:
    try:
        return tokens(first_of(said, *names), names[0])
    except ValueError:
        tally.missing["counts that are none"] += 1
        return None
