"""`/v1/models`: the names that a fleet goes by, and how its tokens are counted."""

from __future__ import annotations

import orjson

from swarm.config.fleet import FleetConfig
from swarm.provider.content import Json
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.refusal import Fault
from swarm.provider.replies.prose import REPLY_ID_HIGH, REPLY_ID_LOW


class Models:
    """The names that a fleet goes by."""

    def __init__(self, config: FleetConfig, *, context_tokens: int, created_unix_s: int) -> None:
        serving = config.serving
        self._config = config
        self._context_tokens = context_tokens
        self._created_unix_s = created_unix_s
        self._own = ("", config.name, *serving.models)
        self._known = {*self._own, *serving.adapters}
        self.default = config.name

    def identity(self, model: str) -> str:
        """Return what the caches of a model go by: nothing for the fleet's own; raises `Fault`."""
        if model in self._own:
            return ""
        if self._config.serving.refuse_unknown_models and model not in self._known:
            raise self._unknown(model)
        return model

    def list(self) -> bytes:
        """Return all of them."""
        names = dict.fromkeys([*self._own[1:], *self._config.serving.adapters])
        return orjson.dumps({"object": "list", "data": [self._model(name) for name in names]})

    def one(self, model: str) -> bytes:
        """Return one of them; raises `Fault`."""
        if model not in self._known:
            raise self._unknown(model)
        return orjson.dumps(self._model(model))

    def _unknown(self, model: str) -> Fault:
        return Fault(404, f"The model `{model}` does not exist.", "model", "model_not_found")

    def _model(self, name: str) -> Json:
        config = self._config
        is_adapter = name not in self._own
        return {
            "id": name,
            "object": "model",
            "type": "model",
            "display_name": name,
            "created": self._created_unix_s,
            "owned_by": "swarm",
            "root": config.name,
            "parent": config.name if is_adapter else None,
            "max_model_len": self._context_tokens,
            "block_size": config.block_tokens,
            "tokenizer": self._tokenizer(),
        }

    def _tokenizer(self) -> Json:
        """Return how tokens are counted."""
        serving = self._config.serving
        overhead = serving.chat_template_tokens
        said = (
            "Roles add nothing." if not overhead else f"Each message adds {overhead} tokens, the reply's too."
        )
        if serving.tokenizer is not None:
            description = (
                f"A token id is one token. Text is made tokens by {serving.tokenizer.name}, every part of a "
                f"message by itself. {said}"
            )
            return {"id_tokens": 1, "chat_overhead_tokens": overhead, "description": description}
        return {
            "id_tokens": 1,
            "text_bytes_per_token": TOKEN_BYTES,
            "chat_overhead_tokens": overhead,
            "reply_ids": [REPLY_ID_LOW, REPLY_ID_HIGH],
            "description": (
                "A token id is one token. Text is one token for every 4 bytes of UTF-8, rounded up over "
                "the whole prompt: the contents of all messages one after another, after the tools "
                f"as JSON. {said} Replies are 4 bytes a token, or ids."
            ),
        }
