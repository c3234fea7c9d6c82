"""`/v1/completions` of OpenAI."""

from __future__ import annotations

from typing import Any

import orjson

from swarm.provider.api_request import ApiRequest, EchoedPrompt, Members, length_of, model_name
from swarm.provider.apis.api import Api, Rules, Story
from swarm.provider.apis.openai import Chunks, guided, head_of, settings_of, usage
from swarm.provider.content import Body, Content, Json, ids_content
from swarm.provider.refusal import invalid
from swarm.provider.replies.chances import MOST, logprob, others, pieces
from swarm.provider.replies.reply import Reply
from swarm.provider.tokens import Tokenizer


def read(data: bytes, rules: Rules) -> ApiRequest:
    """Return what a body asks for; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    settings = settings_of(members, rules.limits)
    prompts = _prompts(body, rules.limits.replies_max // settings["count"], rules.tokenizer)
    if not all(prompt.size for prompt in prompts):
        raise invalid("an empty prompt", "prompt")
    echo = members.flag("echo")
    suffix = members.text("suffix")
    if suffix:
        raise invalid("suffix: the emulated model does not insert", "suffix")
    return ApiRequest(
        prompts=prompts,
        prompt_member="prompt",
        length=length_of(members, ("max_tokens",), is_exact=True),
        model=model_name(members),
        with_ids=(prompts[0].is_ids or rules.tokenizer.is_real) and members.flag("return_token_ids"),
        echoed_prompts=tuple(_echoed(each, rules.tokenizer) for each in prompts) if echo else (),
        logprobs=_logprobs(members),
        format=guided(body, members),
        **settings,
    )


def _prompts(body: Body, most: int, tokenizer: Tokenizer) -> tuple[Content, ...]:
    """Return the prompts, at least one: a text, ids, or a list of either."""
    prompt = body.members.get("prompt")
    several = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], str | list)
    prompts: list[Any] = prompt if isinstance(prompt, list) and several else [prompt]
    if len(prompts) > most:
        raise invalid(f"prompt: at most {most} prompts are answered at once", "prompt")
    found = tuple(_prompt(body, each, tokenizer) for each in prompts)
    if len({each.is_ids for each in found}) > 1:
        raise invalid("prompt: texts and ids in one list", "prompt")
    return found


def _prompt(body: Body, prompt: object, tokenizer: Tokenizer) -> Content:
    if isinstance(prompt, list):
        return ids_content(prompt, "prompt")
    if not isinstance(prompt, str):
        raise invalid("prompt: a string or a list of token ids is expected", "prompt")
    data = body.text(prompt, "prompt")
    if body.is_lifted_ids(prompt):
        return Content((data,), len(data), is_ids=True)
    content = tokenizer.content(data)
    return Content((content,), len(content))


def _echoed(prompt: Content, tokenizer: Tokenizer) -> EchoedPrompt:
    """Return a prompt as text, and its tokens as text."""
    data = b"".join(prompt.parts)
    if not prompt.is_ids and not tokenizer.is_real:
        text = data.decode(errors="replace")
        return EchoedPrompt(text, tuple(pieces(text.encode())))
    ids = tokenizer.ids(data)
    return EchoedPrompt(tokenizer.text(ids), tuple(tokenizer.pieces(ids)))


def _logprobs(members: Members) -> int | None:
    # The first of vLLM's names; OpenAI's has a number here and a truth value in chats.
    return members.count("logprobs", 0, MOST)


class CompletionChunks(Chunks):
    """The events of completions."""

    def __init__(self, story: Story) -> None:
        super().__init__(story, head_of(story, "text_completion", "cmpl"))

    def first(self, place: int) -> bytes:
        """Return the prompt, if it is to be repeated."""
        if not self._story.ask.echoed_prompts:
            return b""
        self._told = place, 0
        before = _before(self._story, place)
        choice = self.choice(place, before.text, None)
        if self._story.ask.logprobs is not None:
            choice["logprobs"] = _chances(list(before.tokens), self._story.ask.logprobs, opens=True)
        return self.chunk(choice)

    def choice(self, place: int, text: str, reason: str | None) -> Json:
        """Return a choice that tells of text."""
        return {"index": place, "text": text, "logprobs": None, "finish_reason": reason}

    def chances(self, reply: Reply, start: int, end: int) -> Any:
        """Return the log-probabilities of tokens."""
        return _chances(reply.pieces(start, end), self._story.ask.logprobs or 0, offset=reply.at(start))


def _before(story: Story, place: int) -> EchoedPrompt:
    """Return a reply's prompt, if it is to be repeated."""
    echoed = story.ask.echoed_prompts
    return echoed[place // story.ask.count] if echoed else EchoedPrompt("", ())


def _chances(tokens: list[str], count: int, *, opens: bool = False, offset: int = 0) -> Json:
    """Return log-probabilities by token; of a text's very first nothing is known."""
    found: list[float | None] = [logprob(token) for token in tokens]
    likeliest: list[Json | None] = [dict(others(token, count)) for token in tokens]
    if opens and found:
        found[0] = likeliest[0] = None
    offsets = [offset]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": found,
        "top_logprobs": likeliest if count else None,
        "text_offset": offsets[: len(tokens)],
    }


def whole(story: Story) -> bytes:
    """Return the body of an answer that is not streamed."""
    head = head_of(story, "text_completion", "cmpl")
    choices = [_whole_choice(story, place, reply) for place, reply in enumerate(story.replies)]
    return orjson.dumps({**head, "choices": choices, "usage": usage(story)})


def _whole_choice(story: Story, place: int, reply: Reply) -> Json:
    ask = story.ask
    before = _before(story, place)
    text = reply.shown.decode()
    choice: Json = {
        "index": place,
        "text": before.text + text,
        "logprobs": None,
        "finish_reason": reply.finish,
    }
    if ask.logprobs is not None:
        tokens = [*before.tokens, *(each for each in reply.pieces(0, reply.tokens) if each)]
        choice["logprobs"] = _chances(tokens, ask.logprobs, opens=bool(before.tokens))
    if ask.with_ids:
        choice["token_ids"] = reply.id_list()
    if reply.stop is not None:
        choice["stop_reason"] = reply.stop
    return choice


COMPLETIONS = Api(read, CompletionChunks, whole)
