"""The states of one dispatch of a task in a worker: every legal step, in one table.

WAITING ──START──▶ RUNNING ──EXIT──▶ ENDED
   │                  │
   │                STOP (limit, cancel, halt)
   │                  ▼
   │              STOPPING ──EXIT──▶ LINGERING ──GONE──▶ ENDED
   │                  └──────── SURVIVE ───────┴──────▶ LOST     (also SIGKILL did not help; so is its slot)
   ├──DROP (handed back, cancelled, rejected)──────────▶ ENDED
   └──EXPAND──▶ EXPANDING ──EXIT──▶ WAITING     (a process of the slot answers what the template asks; STOP and DROP as above)

ENDED ──WITHHOLD──▶ DELIVERING ──ARRIVE──▶ ENDED     (what it said has to reach another host before it may count)
"""

from enum import IntEnum, auto

from hs_common.errors import InvalidTransitionError


class State(IntEnum):
    """Where a dispatch is. (Of integers, whose hash is not a Python call: it is looked up twice per task.)."""

    WAITING = auto()
    RUNNING = auto()
    EXPANDING = auto()
    """Its command is being found out."""
    STOPPING = auto()
    """We sent it a signal."""
    LINGERING = auto()
    """It was stopped and its first process ended, but not all that it started."""
    DELIVERING = auto()
    """Nothing of it runs, and its output is on its way."""
    ENDED = auto()
    LOST = auto()


class Step(IntEnum):
    """What can happen to it."""

    DROP = auto()
    START = auto()
    EXPAND = auto()
    EXIT = auto()
    STOP = auto()
    GONE = auto()
    SURVIVE = auto()
    WITHHOLD = auto()
    ARRIVE = auto()


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.WAITING, Step.DROP): State.ENDED,
    (State.WAITING, Step.START): State.RUNNING,
    (State.WAITING, Step.EXPAND): State.EXPANDING,
    (State.EXPANDING, Step.EXIT): State.WAITING,  # for nothing any more: it starts or is dropped at once
    (State.EXPANDING, Step.STOP): State.STOPPING,
    (State.EXPANDING, Step.DROP): State.ENDED,  # what it asks could not be spawned
    (State.RUNNING, Step.EXIT): State.ENDED,
    (State.RUNNING, Step.STOP): State.STOPPING,
    (State.RUNNING, Step.DROP): State.ENDED,  # it could not be spawned
    (State.STOPPING, Step.STOP): State.STOPPING,  # the next signal, or another reason
    (State.STOPPING, Step.EXIT): State.LINGERING,
    (State.STOPPING, Step.SURVIVE): State.LOST,
    (State.LINGERING, Step.STOP): State.LINGERING,
    (State.LINGERING, Step.GONE): State.ENDED,
    (State.LINGERING, Step.SURVIVE): State.LOST,
    (State.ENDED, Step.WITHHOLD): State.DELIVERING,
    (State.DELIVERING, Step.ARRIVE): State.ENDED,
}


def after(state: State, step: Step) -> State:
    """Return the state that follows.

    Raises:
        InvalidTransitionError: There is no such step. Our fault.

    """
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise InvalidTransitionError(f"a task that is {state.name} cannot {step.name}") from None
