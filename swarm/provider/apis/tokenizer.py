"""`/tokenize` and `/detokenize` of vLLM."""

from __future__ import annotations

import orjson

from swarm.provider.api_request import Members
from swarm.provider.apis.api import Rules
from swarm.provider.apis.chat import write_messages
from swarm.provider.content import Body, Content, Writer, ids_content
from swarm.provider.refusal import invalid
from swarm.provider.tokens import ids_of_text, pieces_of_ids, text_of_ids


def tokenize(data: bytes, rules: Rules, context_tokens: int) -> bytes:
    """Return the answer to a body with a prompt or messages; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    content = _content(body, members, rules)
    ids = ids_of_text(b"".join(content.parts))
    found = {"count": len(ids), "max_model_len": context_tokens, "tokens": ids, "token_strs": None}
    if members.flag("return_token_strs"):
        found["token_strs"] = pieces_of_ids(ids)
    return orjson.dumps(found)


def _content(body: Body, members: Members, rules: Rules) -> Content:
    if members.has("prompt"):
        data = body.text(members.text("prompt"), "prompt")
        return Content((data,), len(data))
    if not members.has("messages"):
        raise invalid("prompt: a string is expected, or messages", "prompt")
    writer = Writer(body, rules.template_tokens)
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
    return orjson.dumps({"prompt": text_of_ids(b"".join(ids_content(tokens, "tokens").parts))})
