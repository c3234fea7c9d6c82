"""A request on its way through the fleet."""

from __future__ import annotations

from typing import Literal

from swarm.context.tree import Node, Prompt
from swarm.fleet.events import CacheUse, FleetRequest
from swarm.kvcache.requests import Handle

State = Literal[
    "entering",
    "waiting",
    "loading",
    "pending",
    "chunk",
    "arriving",
    "joining",
    "decode",
    "cancelled",
    "ended",
]
"""entering: on its way to the queue; waiting: for admission; loading: for a lower tier's blocks; pending:
for a chunk of its prompt to be computed; chunk: it is being computed; arriving: for KV from the prefill
instance; joining: for the next decode step; cancelled: until the step under way has ended."""

TRANSITIONS: dict[State, tuple[State, ...]] = {
    "entering": ("waiting", "ended"),
    "waiting": ("pending", "loading", "joining", "arriving", "ended"),
    "loading": ("pending", "waiting", "ended"),
    "pending": ("chunk", "waiting", "ended"),
    "chunk": ("decode", "pending", "waiting", "ended", "cancelled"),
    "arriving": ("joining", "waiting", "ended"),
    "joining": ("decode", "ended"),
    "decode": ("ended", "waiting", "cancelled"),
    "cancelled": ("ended",),
    "ended": (),
}
"""What may follow each state. From a chunk to waiting: for the rank that decodes; from others: preempted."""


class Sequence:
    """A request and the tokens it has: `prompt` and the replies generated so far make the context.

    Its reply lies on the prompt's own node where it will be echoed, else on a branch of its own.
    """

    __slots__ = (
        "admitted_s",
        "announced_tokens",
        "backlog_tokens",
        "cache",
        "computed",
        "emitted",
        "first_s",
        "gap_max_s",
        "handle",
        "join_order",
        "join_step",
        "lacking_tokens",
        "load_s",
        "loads",
        "loads_by_layer",
        "node",
        "peaks_from",
        "place",
        "request",
        "sender_handle",
        "sender_place",
        "state",
        "step_loads",
        "target",
        "token_s",
    )

    def __init__(self, request: FleetRequest, ideal_tokens: int) -> None:
        self.request = request
        self.node = _reply_node(request)
        self.state: State = "entering"
        """`become` alone changes it."""
        self.place = 0
        """Of its rank among the fleet's."""
        self.handle: Handle | None = None
        self.sender_place: int | None = None
        """Of the prefill rank that holds the KV, until the decode rank has it."""
        self.sender_handle: Handle | None = None
        self.cache = tuple.__new__(CacheUse, (request.prompt.length, 0, ideal_tokens, (), ()))
        """As first admitted; before that only the prompt and the ideal are known."""
        self.target = request.prompt.length
        """Tokens to compute before the next one: the prompt, and what of the reply was preempted."""
        self.computed = 0
        """Tokens whose KV is held, while not decoding."""
        self.backlog_tokens = 0
        """Tokens that its rank still has to compute for it; a guess until it is admitted."""
        self.announced_tokens = 0
        """Prompt tokens to compute as its router believes, until its first token."""
        self.lacking_tokens = 0
        """KV that it needs beyond what lay in HBM as it came; none once it is admitted."""
        self.loads = 0
        """Reads from lower tiers that have not landed, and that it waits for outside of steps."""
        self.step_loads = 0
        """Reads that have not landed, and that its first step waits for."""
        self.load_s = 0.0
        """When the last of those was started."""
        self.loads_by_layer = 0
        """Layers that such a step computes as they come; 0: none before all are here."""
        self.emitted = 0
        """Output tokens given, when it last was not decoding."""
        self.join_step = 0
        self.join_order = 0
        """The how-manieth it was to join its batch; 0 while it is in none."""
        self.peaks_from = 0.0
        self.admitted_s = 0.0
        """When its rank first took it from the queue."""
        self.first_s = 0.0
        self.token_s = 0.0
        """When the last token was given, while not decoding."""
        self.gap_max_s = 0.0

    @property
    def output_tokens(self) -> int:
        """Tokens to generate."""
        return self.request.output_tokens

    def become(self, state: State) -> None:
        """Go to a state that may follow the present one."""
        assert state in TRANSITIONS[self.state], f"what is {self.state} does not become {state}"
        self.state = state

    def context(self) -> Prompt:
        """Return what must be computed before the next token."""
        prompt = self.request.prompt
        if self.node is prompt.node and self.target == prompt.length:
            return prompt
        return Prompt(self.node, self.target)


def _reply_node(request: FleetRequest) -> Node:
    if request.echo:
        return request.prompt.node
    return request.prompt.branch(f"{request.prompt.node.name}>{request.request_id}").node
