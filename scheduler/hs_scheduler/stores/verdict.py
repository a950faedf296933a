"""What an outcome does to a row: the fence, and the state that follows. Both stores obey these functions.

    outcome              counts when                                    row becomes
    success              fence < dispatch <= row's, not ended           DONE
    failure              dispatch == row's, ASSIGNED RUNNING            DONE, and a retry row while attempts are left
    handed back          "                                              NEW
    crashed              "                                              NEW, the fifth time QUARANTINED
    rejected, cancelled  "                                              REJECTED, CANCELLED

The first success wins even where the task was given to somebody else meanwhile: a completed execution is a valid one.
QUARANTINED is not retried: what killed five workers would kill five more.
"""

from collections.abc import Iterable
from itertools import repeat
from operator import add
from typing import NamedTuple

from hs_common import limits
from hs_common.outcomes import Successes
from hs_common.tasks import Outcome, OutcomeKind, exit_status
from hs_scheduler.tasks.state import State

ENDED = (State.DONE, State.CANCELLED, State.QUARANTINED, State.REJECTED)


def succeeded(outcome: Outcome) -> bool:
    """Whether the task ran and did what it should."""
    return outcome.kind == OutcomeKind.FINISHED and not outcome.status and not outcome.reason


def counts(outcome: Outcome, state: int, dispatch: int, fence: int = 0) -> bool:
    """Whether the outcome still applies to a row in this state, last dispatched as `dispatch`.

    `fence`: The user reverted the row after this dispatch; what was started up to then does not count any more.
    """
    if outcome.dispatch <= fence:
        return False
    if outcome.dispatch == dispatch:
        return state in (State.ASSIGNED, State.RUNNING) or (state <= State.NEW and succeeded(outcome))
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


class Ending(NamedTuple):
    """What is written down about an outcome; None: nothing to say."""

    exit_status: int | None
    reason: str | None
    start_time: float | None
    completion_time: float
    duration: float | None
    cpu_user: float | None
    cpu_system: float | None
    memory_max: int | None
    command: bytes | None
    outpath: bytes | None
    errpath: bytes | None


def ending(outcome: Outcome, now: float) -> Ending:
    """Return what to write down about an outcome that ends a row; now: wall clock, seconds since the epoch."""
    _, _, kind, status, reason, start, duration, cpu_user, cpu_system, memory_max, command, outpath, errpath = outcome
    # Whether it ran is said by its kind; a clock that stands at zero makes no success a failure.
    exited = exit_status(status) if kind == OutcomeKind.FINISHED else None
    if not start:
        # What is captured of it then, its template said.
        return Ending(exited, reason or None, None, now, *_NOTHING_RAN, outpath or None, errpath or None)
    return Ending(
        exited,
        reason or None,
        start,
        start + duration,
        duration,
        cpu_user,
        cpu_system,
        memory_max or None,
        command or None,
        outpath or None,
        errpath or None,
    )


def endings(outcomes: Successes) -> tuple[Iterable[object], ...]:
    """Return what to write down about tasks that ran: for each field of an `Ending` its values."""
    nothing = repeat(None)
    completed = map(add, outcomes.starts, outcomes.durations)
    memory_max = [memory_max or None for memory_max in outcomes.memory_max]
    used = (outcomes.durations, outcomes.cpu_user, outcomes.cpu_system, memory_max)
    return (repeat(0), nothing, outcomes.starts, completed, *used, nothing, nothing, nothing)


_NOTHING_RAN = (None,) * 5
