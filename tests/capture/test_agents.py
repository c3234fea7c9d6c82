"""Who asked is told by headers, or by what goes on from what."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from swarm.capture.agents import Agents, Whose
from swarm.capture.asked import asked_of

SALT = b"s"
SYSTEM = {"role": "system", "content": "You are an agent that does what it is told to, and no more. " * 4}
TASK = "Find out where the configuration of the server is read."
Message = dict[str, Any]


class Wire:
    """Sends requests one after the other, each of which takes a second."""

    def __init__(self) -> None:
        self.agents = Agents(SALT)
        self.now_s = 0.0

    def ask(
        self,
        *messages: Message,
        headers: dict[bytes, bytes] | None = None,
        calls: tuple[Any, ...] = (),
        at_s: float | None = None,
        failed: bool = False,
        key: bytes = b"k",
        **body: Any,
    ) -> Whose:
        start_s = self.now_s if at_s is None else at_s
        self.now_s = start_s + 1.0
        asked = asked_of("chat", orjson.dumps({"messages": messages, **body}), SALT)
        assert asked is not None
        whose, chain = self.agents.whose(headers or {}, key, asked, start_s, self.now_s)
        self.agents.note_reply(
            headers or {},
            key,
            whose,
            chain,
            response=body.get("response", ""),
            calls=[("task", call) for call in calls],
            failed=failed,
        )
        return whose


def user(words: str) -> Message:
    return {"role": "user", "content": words}


def said(words: str) -> Message:
    return {"role": "assistant", "content": words}


FIRST = (SYSTEM, user("Please mend the server."))
SECOND = (*FIRST, said("I shall look."), user("Go on."))


def test_a_prompt_that_begins_with_another_is_of_the_same_agent() -> None:
    wire = Wire()
    assert wire.ask(*FIRST) == wire.ask(*SECOND)


def test_one_that_was_altered_near_its_end_is_still_of_the_same_agent() -> None:
    wire = Wire()
    first = wire.ask(*SECOND)
    assert wire.ask(*FIRST, said("I shall look"), user("No, stop.")) == first


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ((SYSTEM, user("Please mend the client.")), False),
        (FIRST, False),  # A person who begins again with the same words begins another session.
        (({"role": "system", "content": "You are another."}, FIRST[1], said("x"), user("y")), False),
    ],
)
def test_another_beginning_is_another_agent(other: tuple[Message, ...], is_same: bool) -> None:
    wire = Wire()
    assert (wire.ask(*FIRST).agent == wire.ask(*other).agent) is is_same


def test_a_first_request_that_failed_is_sent_again_by_the_same_agent() -> None:
    wire = Wire()
    assert wire.ask(*FIRST, failed=True) == wire.ask(*FIRST)


def test_two_that_ask_at_once_are_two_agents() -> None:
    wire = Wire()
    first = wire.ask(*SECOND, at_s=0.0)
    assert wire.ask(*SECOND, at_s=0.5).agent != first.agent


def test_keys_tell_people_apart() -> None:
    wire = Wire()
    assert wire.ask(*FIRST, key=b"a").agent != wire.ask(*SECOND, key=b"b").agent


def test_an_agent_that_begins_with_what_a_tool_was_given_works_for_who_gave_it() -> None:
    wire = Wire()
    main = wire.ask(*FIRST, calls=({"prompt": TASK, "subagent_type": "explorer"},))
    blocks = [
        {"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
        {"type": "text", "text": TASK},
    ]
    sub = wire.ask({"role": "user", "content": blocks})
    assert (sub.parent, sub.kind) == (main.agent, "explorer")
    assert wire.ask(*FIRST, said("It is in a file."), user("Thanks.")) == main


def test_a_short_text_tells_a_sub_agent_while_the_call_that_holds_it_is_open() -> None:
    wire = Wire()
    main = wire.ask(*FIRST, calls=({"prompt": "look"},))
    assert wire.ask(user("look")).parent == main.agent
    assert wire.ask(*FIRST, said("I see."), user("Thanks.")) == main
    assert wire.ask(user("look")).parent == ""


def test_a_session_that_a_header_names_has_its_agents_told_apart_by_content() -> None:
    wire = Wire()
    headers = {b"x-claude-code-session-id": b"session"}
    main = wire.ask(*FIRST, headers=headers, calls=({"what": "a tool of another kind"},))
    sub = wire.ask(user("Something that no call holds."), headers=headers)
    assert (main.session, main.parent) == ("session", "")
    assert (sub.session, sub.parent) == ("session", main.agent)


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-session-id": b"a", b"x-parent-session-id": b"b"},
        {b"x-claude-code-agent-id": b"a", b"x-claude-code-parent-agent-id": b"b"},
        {b"thread-id": b"a", b"x-codex-parent-thread-id": b"b"},
    ],
)
def test_headers_name_agents_and_whom_they_work_for(headers: dict[bytes, bytes]) -> None:
    whose = Wire().ask(*FIRST, headers=headers)
    assert (whose.agent, whose.parent) == ("a", "b")


def test_a_response_that_goes_on_from_another_is_of_the_same_agent() -> None:
    wire = Wire()
    first = wire.ask(*FIRST, response="r1")
    assert wire.ask(user("Go on."), previous_response_id="r1") == first


@pytest.mark.parametrize(
    "user_id",
    ["user_1_account__session_abc", orjson.dumps({"device_id": "d", "session_id": "abc"}).decode()],
)
def test_a_session_in_the_user_s_id_is_found(user_id: str) -> None:
    assert Wire().ask(*FIRST, metadata={"user_id": user_id}).session == "abc"
