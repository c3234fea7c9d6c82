"""Finish reasons: those with which a reply is known to have come to its end."""

from __future__ import annotations

FINISHED = frozenset(
    {
        # OpenAI, and servers that follow it.
        "stop",
        "length",
        "tool_calls",
        "function_call",
        "content_filter",
        # Engines: vLLM ends what repeats itself, TGI and Dynamo name the end of sequence.
        "repetition",
        "eos",
        "eos_token",
        "stop_sequence",
        "stop_token",
        "model_length",
        "model_context_window_exceeded",
        "tool_call",
        # Anthropic's, Cohere's and Gemini's names, which gateways pass on.
        "end_turn",
        "max_tokens",
        "max_output_tokens",
        "tool_use",
        "pause_turn",
        "refusal",
        "complete",
        "completed",
        "safety",
        "recitation",
        "sensitive",
        "prohibited_content",
        "blocklist",
        "spii",
        "guardrail_intervened",
        "content_filtered",
    }
)
"""In lower case."""

REFUSED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "refusal",
        "safety",
        "recitation",
        "sensitive",
        "prohibited_content",
        "blocklist",
        "spii",
        "guardrail_intervened",
    }
)
"""With these a reply may be empty: the server says that it keeps the answer to itself."""
