"""What `/v1/models` says: the model, and how its tokens are counted."""

from __future__ import annotations

import orjson

from swarm.config.fleet import FleetConfig
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.generated_text import REPLY_ID_HIGH, REPLY_ID_LOW


def models(config: FleetConfig, created_unix_s: int) -> bytes:
    """Return the list of the one model that a fleet serves; requests may name any."""
    model = {
        "id": config.name,
        "object": "model",
        "created": created_unix_s,
        "owned_by": "swarm",
        "root": config.name,
        "parent": None,
        "max_model_len": config.max_model_len,
        "block_size": config.block_tokens,
        "tokenizer": {
            "id_tokens": 1,
            "text_bytes_per_token": TOKEN_BYTES,
            "chat_overhead_tokens": 0,
            "reply_ids": [REPLY_ID_LOW, REPLY_ID_HIGH],
            "description": (
                "A token id is one token. Text is one token for every 4 bytes of UTF-8, rounded up over the "
                "whole prompt: the contents of all messages one after another, after the tools as JSON. "
                "Roles add nothing. Replies are 4 bytes a token, or ids."
            ),
        },
    }
    return orjson.dumps({"object": "list", "data": [model]})
