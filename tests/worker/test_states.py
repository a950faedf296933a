"""The table of steps."""

import pytest

from hs_common.errors import InvalidTransitionError
from hs_worker.tasks.states import TRANSITIONS, State, Step, after


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_a_step_is_in_the_table_or_forbidden(state: State, step: Step) -> None:
    """A missing key raises and changes nothing."""
    if (state, step) in TRANSITIONS:
        assert after(state, step) == TRANSITIONS[state, step]
    else:
        with pytest.raises(InvalidTransitionError, match=step.name):
            after(state, step)


def test_every_state_can_be_reached_and_only_two_are_ends() -> None:
    """Nothing is ever stuck. What has ended may have to wait for its output, but comes back."""
    assert set(TRANSITIONS.values()) | {State.WAITING} == set(State)
    assert set(State) - {state for state, step in TRANSITIONS if step != Step.WITHHOLD} == {State.ENDED, State.LOST}
