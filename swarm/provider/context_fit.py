"""Whether a request fits the model's context; if not, said in the words that clients look for."""

from __future__ import annotations

from swarm.provider.api_request import ApiRequest
from swarm.provider.refusal import Fault, Style, invalid

CODE = "context_length_exceeded"


def check_fits(ask: ApiRequest, tokens: int, most: int, style: Style) -> None:
    """Refuse a prompt of so many tokens that leaves no room for its reply; raises `Fault`."""
    length = ask.length
    wanted = max(1, length.least, length.asked or 0)
    if tokens + wanted > most:
        raise _anthropic(tokens, wanted, most) if style == "anthropic" else _openai(ask, tokens, wanted, most)


def _anthropic(tokens: int, wanted: int, most: int) -> Fault:
    if tokens + 1 > most:
        return invalid(f"prompt is too long: {tokens} tokens > {most} maximum", "messages", CODE)
    return invalid(
        f"input length and `max_tokens` exceed context limit: {tokens} + {wanted} > {most}, "
        "decrease input length or `max_tokens` and try again",
        "max_tokens",
        CODE,
    )


def _openai(ask: ApiRequest, tokens: int, wanted: int, most: int) -> Fault:
    limit = f"This model's maximum context length is {most} tokens."
    if tokens + 1 > most:
        return invalid(
            f"{limit} However, your messages resulted in {tokens} tokens. "
            "Please reduce the length of the messages.",
            ask.prompt_member,
            CODE,
        )
    return invalid(
        f"{limit} However, you requested {tokens + wanted} tokens ({tokens} in the messages, {wanted} in the "
        "completion). Please reduce the length of the messages or completion.",
        ask.length.member,
        CODE,
    )
