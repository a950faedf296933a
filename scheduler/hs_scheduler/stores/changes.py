"""What `hs task update` does to a task: which states an action applies to, and what becomes of the row.

                 ON_HOLD    NEW        out        succeeded  failed     cancelled  never run  superseded
    cancel       CANCELLED  CANCELLED  CANCELLED  -          -          -          -          its last attempt
    give up      CANCELLED  CANCELLED  CANCELLED  -          CANCELLED  -          -          its last attempt
    hold         -          ON_HOLD    -          -          -          -          -          its last attempt
    release      NEW        -          -          -          -          -          -          its last attempt
    retry        -          -          -          -          + attempt  + attempt  -          its last attempt
    revert       -          -          -          NEW        NEW        NEW        -          -
    delete       gone       gone       -          gone       gone       gone       gone       gone

`-`: left as it is, and counted. Out: ASSIGNED or RUNNING. Never run: REJECTED as it was read, so not whole in the store.
Give up: `--cancel -F`, whose filter names what failed; a wider one leaves that, or a failure could be cancelled unseen.
Superseded: a later attempt follows; what one wants of the task is wanted of its last attempt. Reverting and deleting mean exactly
the row: they could run, or remove, what the last attempt has long settled.

A `Change` holds the texts as they were typed, so that it can travel to the scheduler that owns the database; a `Plan` is what
they mean. Regular expressions do not travel: who asks works them out, and says which rows they chose (`Span`).
"""

import os
import re
from collections.abc import Iterable, Iterator
from enum import Enum, StrEnum
from itertools import groupby
from typing import Any, NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError, WireError
from hs_common.tasks import Tag
from hs_common.values import dataclass, field
from hs_scheduler.tasks.dialect import SQLITE, Dialect
from hs_scheduler.tasks.filters import Filter, Where, texts_of
from hs_scheduler.tasks.state import State
from hs_scheduler.tasks.tags import RESERVED, TagError, parse_tag

PIECE_ROWS = 1_000
"""Rows that are looked at in one transaction: it holds a scheduler up for about 25 ms."""

ASSIGNMENTS_MAX = 100
"""Of one change, removed tags included."""


class Action(StrEnum):
    """What is done to tasks, besides new values and tags."""

    NONE = ""
    CANCEL = "cancel"
    GIVE_UP = "give up"
    """What `CANCEL` means to a filter for what failed."""
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    REVERT = "revert"
    DELETE = "delete"


class Standing(Enum):
    """How a row stands, as far as actions care; its value completes "left as they are: ..."."""

    ON_HOLD = "on hold"
    NEW = "waiting"
    OUT = "handed out or running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEVER_RUN = "cannot run: the line was refused as it was read"
    SUPERSEDED = "a later attempt follows"


class Effect(Enum):
    """What becomes of a row."""

    LEFT = "left"
    CANCELLED = "cancelled"
    ON_HOLD = "put on hold"
    RELEASED = "released"
    RETRIED = "given another attempt"
    REVERTED = "new again"
    DELETED = "deleted"
    KEPT = "changed"
    """Only its values or tags change."""


_WAITING = (Standing.ON_HOLD, Standing.NEW)
_OPEN = (*_WAITING, Standing.OUT)
_ENDED = (Standing.SUCCEEDED, Standing.FAILED, Standing.CANCELLED)

EFFECTS: dict[tuple[Action, Standing], Effect] = {
    **{(Action.CANCEL, standing): Effect.CANCELLED for standing in _OPEN},
    **{(Action.GIVE_UP, standing): Effect.CANCELLED for standing in (*_OPEN, Standing.FAILED)},
    (Action.HOLD, Standing.NEW): Effect.ON_HOLD,
    (Action.RELEASE, Standing.ON_HOLD): Effect.RELEASED,
    (Action.RETRY, Standing.FAILED): Effect.RETRIED,
    (Action.RETRY, Standing.CANCELLED): Effect.RETRIED,
    **{(Action.REVERT, standing): Effect.REVERTED for standing in _ENDED},
    **{(Action.DELETE, standing): Effect.DELETED for standing in Standing if standing is not Standing.OUT},
    **{(Action.NONE, standing): Effect.KEPT for standing in Standing},
}
"""The table above; what is not in it is left."""

FOLLOWING = (Action.CANCEL, Action.GIVE_UP, Action.HOLD, Action.RELEASE, Action.RETRY)
"""Of a superseded row these mean its last attempt."""

SETTABLE = ("args", *RESERVED)
"""Fields that can be set, where the row waits: then they are still to be used."""

CLEARABLE = ("cores", "memory", "timeout")
"""Fields that may be null."""


def standing(state: int, dispatch: int, *, failed: bool, superseded: bool) -> Standing:
    """Return how a row in this state stands; failed: by `state.FAILED`."""
    if superseded:
        return Standing.SUPERSEDED
    match state:
        case State.ON_HOLD:
            return Standing.ON_HOLD
        case State.NEW:
            return Standing.NEW
        case State.ASSIGNED | State.RUNNING:
            return Standing.OUT
        case State.CANCELLED:
            return Standing.CANCELLED
        case State.REJECTED if not dispatch:
            return Standing.NEVER_RUN
    return Standing.FAILED if failed else Standing.SUCCEEDED


def effect(action: Action, before: Standing, *, sets_values: bool) -> Effect:
    """Return what the action, or the new values alone, make of a row."""
    if sets_values and action is Action.NONE and before not in _WAITING:
        return Effect.LEFT
    return EFFECTS.get((action, before), Effect.LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of the tasks that were meant, in one piece or in all."""

    count: int = 0
    """Tasks that were changed."""
    left: dict[str, int] = field(default_factory=dict)
    """Why tasks were left as they are -> how many."""
    cancelled: tuple[tuple[int, int], ...] = ()
    """(row, dispatch) of each cancelled one: what is out of them is to be stopped. Of one piece only."""
    deleted: tuple[int, ...] = ()
    """Rows. Of one piece only."""

    def plus(self, piece: "Changed") -> "Changed":
        """Return the sum of both numbers; rows are for who hears of each piece."""
        left = dict(self.left)
        for why, number in piece.left.items():
            left[why] = left.get(why, 0) + number
        return Changed(count=self.count + piece.count, left=left)


class Plan(NamedTuple):
    """A change, understood."""

    action: Action
    values: dict[str, Any]
    """Column of `task` -> value."""
    tags: dict[str, Tag]
    removed: tuple[str, ...]
    """Keys of tags."""
    where: Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was asked for."""

    filter: Filter
    action: Action = Action.NONE
    assignments: tuple[str, ...] = ()
    """`FIELD=VALUE` or `KEY:VALUE`."""
    removed_tags: tuple[str, ...] = ()

    def plan(self, dialect: Dialect = SQLITE) -> Plan:
        """Return what it means; dialect: of the engine that will be asked.

        Raises:
            RefusedError: A part of it makes no sense, or nothing would change.

        """
        if len(self.assignments) + len(self.removed_tags) > ASSIGNMENTS_MAX:
            raise RefusedError(f"more than {ASSIGNMENTS_MAX} values and tags in one update: split it")
        values: dict[str, Any] = {}
        tags: dict[str, Tag] = {}
        for text in self.assignments:
            name, value = _assigned(text)
            (values if name in SETTABLE else tags)[name] = value
        for key in self.removed_tags:
            if not re.fullmatch(r"[\w.-]+", key) or key in RESERVED:
                raise RefusedError(f"--remove-tag {key or repr(key)}: is not the key of a tag")
        if self.action is Action.DELETE and (self.assignments or self.removed_tags):
            raise RefusedError("--delete leaves nothing whose values or tags could change")
        if self.action is Action.CANCEL and values:
            raise RefusedError(f"--cancel and a new {next(iter(values))}: a cancelled task does not run any more")
        if not (self.action or values or tags or self.removed_tags):
            raise RefusedError("what is to be changed? Give FIELD=VALUE, KEY:VALUE or an action such as --cancel")
        gives_up = self.action is Action.CANCEL and self.filter.ended == "failed"
        action = Action.GIVE_UP if gives_up else self.action
        return Plan(action, values, tags, self.removed_tags, self.filter.where(dialect))

    def plain(self) -> list[Any]:
        """Return it as lists, bytes and numbers, to be sent."""
        return [
            self.filter.plain(),
            self.action.value,
            [os.fsencode(text) for text in self.assignments],
            [os.fsencode(text) for text in self.removed_tags],
        ]

    @classmethod
    def from_plain(cls, plain: Any) -> "Change":  # noqa: ANN401 - what a peer sent
        """Return the change that was sent.

        Raises:
            WireError: It is none. The peer is at fault.

        """
        match plain:
            case [tasks, str() as action, assignments, removed] if action in list(Action):
                return cls(
                    filter=Filter.from_plain(tasks),
                    action=Action(action),
                    assignments=texts_of(assignments),
                    removed_tags=texts_of(removed),
                )
        raise WireError("not a change of tasks")


class Span(NamedTuple):
    """Rows among which there are tasks that are meant, at most `PIECE_ROWS`."""

    first: int
    last: int
    """Included: the last one that is meant."""
    tasks: int
    """That are meant."""
    rows: tuple[int, ...] | None = None
    """Their numbers, where regular expressions chose them: one can take a day for a single row. None: SQL finds them again."""


def spans_of(rows: Iterable[int]) -> Iterator[Span]:
    """Yield the spans that these rows are in; rows: ascending."""
    for piece, found in groupby(rows, lambda row: (row - 1) // PIECE_ROWS):
        numbers = tuple(found)
        yield Span(piece * PIECE_ROWS + 1, numbers[-1], len(numbers), numbers)


class Piece(NamedTuple):
    """The part of a change that is made in one transaction."""

    change: Change
    """Its filter without regular expressions (`Filter.split`)."""
    first: int
    """Row."""
    last: int
    """Row, included; at most `PIECE_ROWS` rows."""
    rows: tuple[int, ...] | None = None
    """No others than these, see `Span`."""

    @property
    def takes_what_is_out(self) -> bool:
        """Whether it applies to tasks that are out as they are: the filter may name that state."""
        return self.change.action is Action.CANCEL

    def plain(self) -> list[Any]:
        """Return it as lists, bytes and numbers, to be sent."""
        return [self.change.plain(), self.first, self.last, self.rows]

    @classmethod
    def from_plain(cls, plain: Any) -> "Piece":  # noqa: ANN401 - what a peer sent
        """Return the piece that was sent.

        Raises:
            WireError: It is none, or has a regular expression. The peer is at fault.
            RefusedError: A condition makes no sense.

        """
        match plain:
            case [asked, int() as first, int() as last, rows] if (
                0 < first <= last < first + PIECE_ROWS <= limits.ID_MAX
            ):
                change = Change.from_plain(asked)
                if not change.filter.split()[1]:
                    return cls(change, first, last, _numbers(rows))
        raise WireError("not a piece of a change")


def _numbers(plain: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - what a peer sent
    match plain:
        case None:
            return None
        case list() if len(plain) <= PIECE_ROWS and all(type(number) is int for number in plain):
            return tuple(plain)
    raise WireError("not the rows of a piece")


def _assigned(text: str) -> tuple[str, Any]:
    """Return the field or the key of a tag, and its value."""
    match = re.match(r"([\w.-]+)([=:])", text)
    if match is None:
        raise RefusedError(f"{text!r} is neither FIELD=VALUE nor KEY:VALUE")
    name, value = match[1], text[match.end() :]
    if match[2] == "=" and name not in SETTABLE:
        raise RefusedError(f"{text!r}: the fields that can be set are {', '.join(SETTABLE)}; a tag is KEY:VALUE")
    if name == "args":
        if match[2] == ":":
            raise RefusedError(f"{text!r}: args is a field, no tag: use args=...")
        return name, _args(value)
    if name in CLEARABLE and value == "null":
        return name, None
    try:
        return parse_tag(f"{name}:{value}")
    except TagError as exc:
        raise RefusedError(f"bad value {exc}") from exc


def _args(value: str) -> bytes:
    args = os.fsencode(value)
    if not args.strip() or b"\0" in args or len(args) > limits.LINE_BYTES_MAX:
        raise RefusedError(f"args=...: a command line has 1 to {limits.LINE_BYTES_MAX} bytes, and no NUL")
    return args
