"""What an outcome does to a row: the fence, and the state that follows. Both stores obey these functions.

    outcome              counts when                                    row becomes
    success              dispatch <= row's, NEW ASSIGNED RUNNING        DONE
    failure              dispatch == row's, ASSIGNED RUNNING            DONE, and a retry row while attempts are left
    handed back          "                                              NEW
    crashed              "                                              NEW, the fifth time QUARANTINED
    rejected, cancelled  "                                              REJECTED, CANCELLED

The first success wins even where the task was given to somebody else meanwhile: a completed execution is a valid one.
QUARANTINED is not retried: what killed five workers would kill five more.
"""

from hs_common import limits
from hs_common.tasks import Outcome, OutcomeKind
from hs_scheduler.store import State

ENDED = (State.DONE, State.CANCELLED, State.QUARANTINED, State.REJECTED)


def succeeded(outcome: Outcome) -> bool:
    """Whether the task ran and did what it should."""
    return outcome.kind == OutcomeKind.FINISHED and not outcome.status and not outcome.reason


def counts(outcome: Outcome, state: int, dispatch: int) -> bool:
    """Whether the outcome still applies to a row in this state, last dispatched as `dispatch`."""
    if outcome.dispatch == dispatch:
        return state in (State.ASSIGNED, State.RUNNING) or (state == State.NEW and succeeded(outcome))
    return outcome.dispatch < dispatch and state <= State.RUNNING and succeeded(outcome)


def state_after(outcome: Outcome, crashes: int) -> State:
    """Return the row's state once the outcome applies; crashes: how often it crashed before."""
    match outcome.kind:
        case OutcomeKind.FINISHED:
            return State.DONE
        case OutcomeKind.REJECTED:
            return State.REJECTED
        case OutcomeKind.CANCELLED:
            return State.CANCELLED
        case OutcomeKind.CRASHED if crashes + 1 >= limits.CRASHES_MAX:
            return State.QUARANTINED
    return State.NEW


def failed(outcome: Outcome, state: State) -> bool:
    """Whether the row now counts as failed (COMMANDS section 1, Output and end)."""
    return state in (State.REJECTED, State.QUARANTINED) or (state == State.DONE and not succeeded(outcome))


def retries(outcome: Outcome, attempt: int, retries_max: int) -> bool:
    """Whether a failure of this attempt is followed by another attempt."""
    return outcome.kind == OutcomeKind.FINISHED and attempt <= retries_max and not succeeded(outcome)
