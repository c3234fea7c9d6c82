"""`/tokenize` and `/detokenize` of vLLM."""

from __future__ import annotations

import orjson

from swarm.provider.api_request import Members
from swarm.provider.apis.api import Rules
from swarm.provider.apis.chat import write_messages
from swarm.provider.content import Body, Content, ids_content
from swarm.provider.refusal import invalid


def tokenize(data: bytes, rules: Rules, context_tokens: int) -> bytes:
    """Return the answer to a body with a prompt or messages; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    content = _content(body, members, rules)
    ids = rules.tokenizer.ids(b"".join(content.parts))
    found = {"count": len(ids), "max_model_len": context_tokens, "tokens": ids, "token_strs": None}
    if members.flag("return_token_strs"):
        found["token_strs"] = rules.tokenizer.pieces(ids)
    return orjson.dumps(found)


def _content(body: Body, members: Members, rules: Rules) -> Content:
    if members.has("prompt"):
        data = rules.tokenizer.content(body.text(members.text("prompt"), "prompt"))
        return Content((data,), len(data))
    if not members.has("messages"):
        raise invalid("prompt: a string is expected, or messages", "prompt")
    writer = rules.writer(body)
    tools = members.list("tools")
    if tools:
        writer.begin("tools")
        writer.json(tools, "tools")
    write_messages(members.list("messages"), writer)
    writer.continues = not members.flag("add_generation_prompt", unset=True)
    return writer.content()


def detokenize(data: bytes, rules: Rules) -> bytes:
    """Return the answer to a body with token ids; raises `Fault`."""
    tokens = Members(Body(data).members).list("tokens")
    ids_content(tokens, "tokens")
    return orjson.dumps({"prompt": rules.tokenizer.text(tokens)})
