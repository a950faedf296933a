"""The tasks of such a run: each says the same on both streams, notes when it starts and ends, and ends as is written here."""

import re
from collections.abc import Mapping, Sequence

from hs_common.values import dataclass

End = tuple[int, str | None]
"""Exit status, -signal; and the reason."""

DONE: End = (0, None)
OVER_TIME: End = (-2, "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One line of the input."""

    name: str
    act: str = "true"
    """What decides how it ends, in a shell."""
    ignores: str = ""
    """Signals that it ignores."""
    tags: str = ""
    ends: tuple[End, ...] = (DONE,)
    """Of its attempts; of each further one, the last."""

    @property
    def args(self) -> str:
        """Return the line without its tags."""
        note = f'{self.name} $TASK_ATTEMPT $TASK_SLOT $(date +%s.%N) ${{BASH_VERSION:+bash}}:$TEMPLATED" >>ledger'
        ignoring = f"trap '' {self.ignores}; " if self.ignores else ""
        said = f"{self.name}.$TASK_ATTEMPT"
        return (
            f'{ignoring}echo "start {note}; echo {said} begins; echo {said} errs >&2; sleep 0.02; echo {said} ends; '
            f'({self.act}); status=$?; echo "end {note}; exit $status'
        )

    @property
    def line(self) -> str:
        """Return it as it stands in the input."""
        return f"{self.args}  # HYPERSHELL: {self.tags}" if self.tags else self.args

    def attempts(self, attempts_max: int) -> Sequence[End]:
        """Return how its attempts end, in turn."""
        ends = [self.ends[min(number, len(self.ends) - 1)] for number in range(attempts_max)]
        return ends[: ends.index(DONE) + 1] if DONE in ends else ends


def tasks_for(options: frozenset[str]) -> list[Task]:
    """Return those of a run with these options; the first one stops hs-cluster where there is a file `stop`."""
    whole = [
        Task(name="first", act="rm stop 2>&- && kill -INT $(cat pid) && exec sleep 3; true", tags="color:red"),
        Task(name="again", act="[ $TASK_ATTEMPT -ge 2 ]", tags="color:blue", ends=((1, None), DONE)),
        Task(name="slow", act="exec sleep 60", tags="timeout:1", ends=(OVER_TIME,)),
        Task(name="cored", tags="cores:1 memory:1M"),
        Task(name="fails", act="exit 3", tags="flag n:1", ends=((3, None),)),
        Task(name="cored2", tags="cores:1 memory:1M"),
        Task(name="cored3", tags="cores:1 memory:1M"),
    ]
    if "-W" in options:
        whole.append(Task(name="limited", act="exec sleep 61", ends=(OVER_TIME,)))
    if "-S" in options:
        stubborn = Task(name="stubborn", act="exec sleep 62", ignores="INT", tags="timeout:1", ends=((-15, "timeout"),))
        whole.append(stubborn)
    return [*whole, Task(name="last")]


STOPPED = ("slow", "limited", "stubborn")
"""Tasks that run until they are stopped: they note no end, and on a busy machine may not have said all by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A line of the ledger: in the order in which things happened."""

    what: str
    """start or end."""
    name: str
    attempt: int
    slot: int
    at: float
    """Seconds since the epoch."""
    shell: str
    template: str

    @property
    def key(self) -> tuple[str, int]:
        """Of which attempt."""
        return self.name, self.attempt


def read_notes(ledger: bytes) -> list[Note]:
    """Return what the tasks noted."""
    notes = []
    for line in ledger.decode().splitlines():
        what, name, attempt, slot, at, kind = line.split()
        shell, _, template = kind.partition(":")
        notes.append(
            Note(
                what=what,
                name=name,
                attempt=int(attempt),
                slot=int(slot),
                at=float(at),
                shell=shell,
                template=template,
            )
        )
    return notes


def name_of(args: str) -> str:
    """Return of which task a line is."""
    found = re.search(r'"start (\w+) ', args)
    return found[1] if found else args


def said(keys: Sequence[tuple[str, int]]) -> Mapping[str, list[str]]:
    """Return what these attempts say, by stream."""
    out = [f"{name}.{attempt} {word}" for name, attempt in keys for word in ("begins", "ends")]
    return {"stdout": out, "stderr": [f"{name}.{attempt} errs" for name, attempt in keys]}
