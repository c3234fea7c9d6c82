"""Ready request bodies by session in one JSON file (aiperf's `inputs.json`): read, not written.

`data` is a list of `session_id` and `payloads`. A body holds its whole context and no time: the requests of
a session stand at one instant, in their order. To write it, every prompt would be repeated in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from swarm.errors import TraceError
from swarm.workload.formats.conversations.text import (
    READS,
    Held,
    payload_content,
    payload_output,
    request_of,
    session_of,
)
from swarm.workload.formats.fields import Fields
from swarm.workload.formats.files import OnBroken, read_json, shown_name
from swarm.workload.formats.options import Options
from swarm.workload.recorded import RecordedSession

SUFFIXES = (".json",)
DEFAULTS = READS


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the sessions of a file."""
    source = shown_name(file)
    try:
        entries = Fields(source, "file", read_json(file)).objects("data")
    except TraceError as error:
        on_broken(error)
        return
    names: set[str] = set()
    for index, value in enumerate(entries):
        try:
            fields = Fields(source, f"data[{index}]", value)
            session = _session(fields, options)
            if not session.id or session.id in names:
                raise fields.broken(
                    "session_id", f"{session.id!r} must be a name that stands once in the file"
                )
        except TraceError as error:
            on_broken(error)
            continue
        names.add(session.id)
        yield session


def _session(fields: Fields, options: Options) -> RecordedSession:
    requests = []
    held = Held()
    for index, value in enumerate(fields.objects("payloads")):
        payload = Fields(fields.source, f"{fields.place}.payloads[{index}]", value)
        content = payload_content(payload, options)
        held.take(payload, content)
        requests.append(
            request_of(
                content,
                t_s=0.0,
                think_s=None,
                output_tokens=payload_output(payload),
                model=payload.text("model", ""),
            )
        )
    if not requests:
        raise fields.broken("payloads", "is empty")
    return session_of(fields.source, fields.text("session_id"), requests, options, has_words=True)
