"""The APIs that clients speak, a file each: what is read of a request, and how an answer is written.

Knows: the shapes of OpenAI, Anthropic and vLLM. Does not know: sockets, the fleet, how replies are made.
"""
