"""The states of a sequence and what may follow each."""

from typing import get_args

import pytest

from swarm.context.tree import root
from swarm.fleet.events import FleetRequest
from swarm.fleet.sequence import TRANSITIONS, Sequence, State


def sequence_in(state: State) -> Sequence:
    prompt = root("a").extend(8)
    sequence = Sequence(FleetRequest(0, "s", "s", prompt, 1, False), 0)
    sequence.state = state
    return sequence


def test_a_request_that_enters_can_come_to_every_state_and_from_every_state_to_its_end() -> None:
    def reached(first: State) -> set[State]:
        found, left = {first}, [first]
        while left:
            new = set(TRANSITIONS[left.pop()]) - found
            found |= new
            left += new
        return found

    assert reached("entering") == set(get_args(State)) == set(TRANSITIONS)
    assert all("ended" in reached(state) for state in TRANSITIONS)


@pytest.mark.parametrize("state", TRANSITIONS)
def test_a_sequence_goes_only_where_its_state_may_lead(state: State) -> None:
    for following in TRANSITIONS:
        sequence = sequence_in(state)
        if following in TRANSITIONS[state]:
            sequence.become(following)
            assert sequence.state == following
        else:
            with pytest.raises(AssertionError, match=f"{state} does not become {following}"):
                sequence.become(following)
