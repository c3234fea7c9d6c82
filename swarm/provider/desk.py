"""From an understood request to the fleet: its place in the context tree, its replies, its exchange."""

from __future__ import annotations

import time
from hashlib import blake2b
from zlib import crc32

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt
from swarm.fleet.events import FleetRequest
from swarm.fleet.fleet import Fleet
from swarm.provider.api_request import ApiRequest
from swarm.provider.apis.api import Api, Story
from swarm.provider.apis.models import Models
from swarm.provider.apis.response_events import answer_id, whole
from swarm.provider.connection import Cancel, ClientConnection
from swarm.provider.content import Content
from swarm.provider.context_fit import check_fits
from swarm.provider.exchange import Exchange, FleetReply
from swarm.provider.fingerprints import TOKEN_BYTES, Fingerprints
from swarm.provider.fleet_loop import FleetLoop
from swarm.provider.forgotten import Forgotten
from swarm.provider.kept_answers import Kept, KeptAnswers
from swarm.provider.limits import ServerLimits
from swarm.provider.refusal import invalid
from swarm.provider.replies.reply import Reply
from swarm.provider.replies.speaker import Speaker
from swarm.provider.tokens import Tokenizer
from swarm.provider.trie import ContentTrie

BRANCHES_A_REQUEST = 3
"""Branches looked at with every request: it adds at most one, so what nobody holds is soon forgotten."""
SESSION_CHARACTERS_MAX = 256
SEED_TAIL_BYTES = 4096


class Desk:
    """Takes requests in for one fleet."""

    def __init__(
        self,
        fleet: Fleet,
        config: FleetConfig,
        *,
        driver: FleetLoop,
        models: Models,
        limits: ServerLimits,
        past: KeptAnswers,
        tokenizer: Tokenizer,
    ) -> None:
        self._driver = driver
        self._kinds = (b"ids", b"ids") if tokenizer.is_real else (b"text", b"ids")
        self._models = models
        self._limits = limits
        self._past = past
        self._context_tokens = int(min(fleet.context_tokens, 2**62))
        self._speaker = Speaker(config.serving, tokenizer)
        self._prints = Fingerprints(block_tokens=config.block_tokens)
        self._trie = ContentTrie(
            block_tokens=config.block_tokens,
            remembered_bytes_max=limits.remembered_bytes_max,
            forgotten=Forgotten(driver, bytes_max=limits.forgotten_bytes_max),
        )

    def submit(
        self,
        connection: ClientConnection,
        api: Api,
        ask: ApiRequest,
        session: bytes | None,
        came_s: float,
    ) -> Cancel:
        """Send a request to the fleet, its answer to a connection; raises `Fault`.

        To the fleet it came at `came_s` of `time.monotonic`: what reading and placing it took since then is
        part of what the fleet takes, not added to it.
        """
        identity = self._models.identity(ask.model)
        for prompt in ask.prompts:
            check_fits(ask, prompt.tokens, self._context_tokens, api.style)
        # After what clients look for: the words on the context's length.
        asked, most = ask.length.asked, self._limits.output_tokens_max
        if asked is not None and asked > most:
            raise invalid(f"{ask.length.member}: at most {most} are given, got {asked}", ask.length.member)
        driver = self._driver
        numbers = [driver.next_number() for _ in range(ask.replies)]
        replies = [self._reply(ask, place, number) for place, number in enumerate(numbers)]
        story = Story(
            ask=ask,
            replies=replies,
            number=numbers[0],
            created_unix_s=int(time.time()),
            model=ask.model or self._models.default,
            is_chunked=connection.is_chunked,
        )
        exchange = Exchange(api=api, story=story, line=connection, on_end=self._keep)
        for place, number in enumerate(numbers):
            request = self._request(ask, identity, place, number, replies[place], session)
            driver.submit(request, FleetReply(exchange, place), came_s=came_s, count=ask.count)
            if exchange.is_over:
                # One that is refused takes the others with it.
                _give_up(driver, numbers[:place])
                break
        exchange.begin()
        self._trie.forget(driver.held_tokens, BRANCHES_A_REQUEST)

        def cancel() -> None:
            exchange.abandon()
            _give_up(driver, numbers)

        return cancel

    def _reply(self, ask: ApiRequest, place: int, number: int) -> Reply:
        """Return the reply of a place: of the same seed and prompt the same, else one of its own."""
        prompt = ask.prompts[place // ask.count]
        name = f"reply {number}"
        if ask.seed is not None:
            tail = b"".join(prompt.parts[-4:])[-SEED_TAIL_BYTES:]
            name = f"seed {ask.seed} {place % ask.count} {prompt.size} {crc32(tail)}"
        room = min(self._context_tokens - prompt.tokens, self._limits.output_tokens_max)
        return self._speaker.reply(ask, name, room, is_ids=prompt.is_ids)

    def _request(
        self, ask: ApiRequest, identity: str, place: int, number: int, reply: Reply, session: bytes | None
    ) -> FleetRequest:
        """Return a request with its place in the tree, where its reply continues it.

        A later prompt that repeats the reply so finds what decoding made.
        """
        prompt = ask.prompts[place // ask.count]
        # Of several TTLs, which fall from the front, the fleet keeps the longest.
        at, keep_s = ask.breakpoints[_longest(ask)] if ask.breakpoints else (0, 0.0)
        marks = [*prompt.marks, *reply.marks(prompt.size)]
        prints = self._prints.of(b"".join((*prompt.parts, reply.content())), marks)
        node = self._trie.place(_kind(self._kinds[prompt.is_ids], identity, ask.salt), prints)
        return FleetRequest(
            request_id=number,
            session=_session(session, node.name),
            agent="",
            prompt=Prompt(node, prompt.tokens),
            output_tokens=reply.tokens,
            echo=True,
            keep_tokens=at // TOKEN_BYTES,
            keep_s=keep_s,
        )

    def _keep(self, story: Story) -> None:
        """Keep an answer that later requests may continue."""
        start = story.ask.kept_from
        if start is None:
            return
        parts, marks, size = start
        prompt, reply = story.ask.prompts[0], story.replies[0]
        said = reply.content()
        kept = Content(
            (*prompt.parts[parts:], said),
            prompt.size - size + len(said),
            tuple((at - size, kind) for at, kind in (*prompt.marks[marks:], *reply.marks(prompt.size))),
        )
        self._past.keep(answer_id(story), Kept(kept, whole(story)))


def _longest(ask: ApiRequest) -> int:
    """Return the last of the breakpoints with the longest TTL."""
    ttls_s = [ttl_s for _, ttl_s in ask.breakpoints]
    return len(ttls_s) - 1 - ttls_s[::-1].index(max(ttls_s))


def _give_up(driver: FleetLoop, numbers: list[int]) -> None:
    for number in numbers:
        driver.cancel(number)


def _kind(kind: bytes, identity: str, salt: str) -> bytes:
    """Return what must be alike beside content for caches to be shared."""
    if not identity and not salt:
        return kind
    return kind + blake2b(f"{identity}\x00{salt}".encode(errors="surrogatepass"), digest_size=16).digest()


def _session(header: bytes | None, root: str) -> str:
    """Return what a router keeps together: what the client says, else where its content is in the tree.

    Of `session/child` only the session: sub-agents go where their session does, as in a simulation.
    """
    return root if header is None else header.partition(b"/")[0][:SESSION_CHARACTERS_MAX].decode("latin-1")
