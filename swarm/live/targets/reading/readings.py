"""Which API's events are read by what."""

from __future__ import annotations

from swarm.config.target import Api
from swarm.live.targets.reading.delta import Reading
from swarm.live.targets.reading.messages import MessagesReading
from swarm.live.targets.reading.responses import ResponsesReading

READINGS: dict[Api, type[Reading]] = {
    "chat": Reading,
    "completions": Reading,
    "token_ids": Reading,
    "messages": MessagesReading,
    "responses": ResponsesReading,
}
