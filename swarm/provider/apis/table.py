"""Which path makes replies, by which API."""

from __future__ import annotations

from swarm.provider.apis.api import Api
from swarm.provider.apis.chat import CHAT
from swarm.provider.apis.completions import COMPLETIONS
from swarm.provider.apis.messages import MESSAGES
from swarm.provider.apis.responses import RESPONSES

APIS: dict[bytes, Api] = {
    b"/v1/chat/completions": CHAT,
    b"/v1/completions": COMPLETIONS,
    b"/v1/messages": MESSAGES,
    b"/v1/responses": RESPONSES,
}
