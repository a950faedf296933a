"""What the tests of the worker's core are given: a core, a broker's words, and processes that end when told."""

from itertools import count
from typing import TypeVar

from hs_common import messages
from hs_common.messages import BundleHeader, Demand, Message
from hs_common.outcomes import unpack_outcomes
from hs_common.tasks import Bundle, Detail, Outcome, OutcomeKind, Task, pack_bundle
from hs_worker import events
from hs_worker.core import WorkerCore
from hs_worker.events import Effect, Event, Exit, Send, Spawn
from hs_worker.settings import Identity, Rules

M = TypeVar("M", bound=Message)
SELF = b"w" * 16
OTHER = b"o" * 16
BROKER = b"b" * 16
WALL_S = 1_000_000.0
"""Wall clock at monotonic 0."""

FINISHED, HANDED_BACK = OutcomeKind.FINISHED, OutcomeKind.HANDED_BACK
CRASHED, REJECTED, CANCELLED = OutcomeKind.CRASHED, OutcomeKind.REJECTED, OutcomeKind.CANCELLED


def a_task(row: int, *, dispatch: int = 1, args: bytes = b"true", detail: Detail | None = None) -> Task:
    return Task(row, row.to_bytes(16, "big"), dispatch, 1, args, detail)


def a_detail(
    *,
    timeout: float = 0.0,
    cores: int = 0,
    memory: int = 0,
    tags: tuple[tuple[str, str], ...] = (),
    template: bytes = b"",
) -> Detail:
    return Detail(timeout, cores, memory, tags, template)


class Worker:
    """A core whose every step is followed by `check`."""

    def __init__(self, rules: Rules | None = None, recovered: tuple[tuple[int, bytes], ...] = ()) -> None:
        self.now = 0.0
        self.core = WorkerCore(
            rules or Rules(slots=2, confirms=False),
            Identity(worker=SELF, replaces=b"", version="1", host="here", pid=7),
            recovered,
            now=0.0,
        )
        self._sessions = count(1)
        self.session = b""
        self.takes(events.ClockSet(WALL_S))

    def takes(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now)
        self.core.check()
        return effects

    def waits(self, seconds: float) -> list[Effect]:
        """Let time pass in one go."""
        self.now += seconds
        effects = self.core.expire(self.now)
        self.core.check()
        return effects

    def is_welcome(self) -> list[Effect]:
        """Connect and be welcomed; return what follows the Welcome."""
        self.takes(events.Connected())
        self.session = next(self._sessions).to_bytes(16, "big")
        return self.takes(messages.Welcome(session=self.session, broker=BROKER, epoch=1))

    def gets(self, *bundles: tuple[int, tuple[Task, ...]], session: bytes = b"") -> list[Effect]:
        """Be assigned (number, tasks) bundles."""
        bodies = [pack_bundle(Bundle(b"/here", tasks)) for _, tasks in bundles]
        headers = tuple(
            BundleHeader(number, len(tasks) or 1, len(body), Demand(0, 0, 0.0))
            for (number, tasks), body in zip(bundles, bodies, strict=True)
        )
        return self.takes(messages.Assign(session=session or self.session, bundles=headers, body=b"".join(bodies)))

    def gets_tasks(self, *rows: int) -> list[Effect]:
        """Be assigned tasks, each a bundle of its own with the same number."""
        return self.gets(*((row, (a_task(row),)) for row in rows))

    def ends(self, *slots: int, status: int = 0, seconds: float = 0.5) -> list[Effect]:
        """The processes in these slots end."""
        exits = [Exit(slot, status, self.now - seconds, self.now, 0.25, 0.125, 4096) for slot in slots]
        return self.takes(events.Exited(exits))


def a_worker(**rules: object) -> Worker:
    """Return one that was welcomed."""
    worker = Worker(Rules(**{"slots": 2, "confirms": False, **rules}))  # type: ignore[arg-type]
    worker.is_welcome()
    return worker


def spawned(effects: list[Effect]) -> list[tuple[int, int]]:
    """Return (slot, row) of what was started."""
    return [(effect.slot, effect.task.row) for effect in effects if isinstance(effect, Spawn)]


def sent(effects: list[Effect], kind: type[M]) -> list[M]:
    return [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def told(effects: list[Effect]) -> list[Outcome]:
    """Return the outcomes in all Results."""
    return [outcome for result in sent(effects, messages.Result) for outcome in unpack_outcomes(result.body)]
