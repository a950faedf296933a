"""The loop of a worker, without the guardian and without processes."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.worker.building import HANDED_BACK, a_worker

from hs_common.lifeline import Lifeline
from hs_common.outcomes import join_outcomes, unpack_outcomes
from hs_common.security import make_cluster
from hs_common.sockets import Link, new_context
from hs_worker.contact import Contact
from hs_worker.core import WorkerCore
from hs_worker.daemon import WorkerDaemon
from hs_worker.events import Effect, Event, Exit, Record
from hs_worker.execution.executor import NullExecutor
from hs_worker.vigil import Vigil


class Doomed(NullExecutor):
    """The task in slot 0 is found to have died of SIGTERM."""

    def reap(self) -> list[Exit]:
        """Return that."""
        return [Exit(0, signal.SIGTERM, 1.0, 2.0, 0.0, 0.0, 0)]


class Slow(Lifeline):
    """A guardian that has said `resume`, and says `grace` only when that was heard."""

    def __init__(self) -> None:
        read_end, self.write_end = os.pipe()
        super().__init__(read_end)
        os.write(self.write_end, b"resume\n")

    def lines(self) -> list[bytes]:
        """Hear."""
        found = super().lines()
        if b"resume" in found:
            os.write(self.write_end, b"grace\n")
        return found


@pytest.fixture
def poller() -> Iterator[select.epoll]:
    """Restore what a daemon does to the signals of its process."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with select.epoll() as one:
        yield one
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_a_task_that_dies_with_us_goes_back_though_another_word_comes_before_that_of_our_end(
    poller: select.epoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm sends SIGCONT to all processes of a job, then SIGTERM; on a busy machine the guardian is the last to pass it on."""
    # Given a worker in a job, and a task that runs
    worker = a_worker()
    worker.gets_tasks(1)
    effects: list[Effect] = []
    handle = WorkerCore.handle

    def noted(core: WorkerCore, event: Event, now: float) -> list[Effect]:
        found = handle(core, event, now)
        effects.extend(found)
        return found

    monkeypatch.setattr(WorkerCore, "handle", noted)
    _, connections = make_cluster((f"ipc://{tmp_path}/broker",), "here")
    pipe = Slow()
    with new_context() as context, closing(Link(context, connections["worker"])) as link:
        contact = Contact(link, poller, Vigil(""))
        daemon = WorkerDaemon(worker.core, contact, Doomed(), poller, pipe, shared=None, relay=None, grace_s=10.0)

        # When it dies before both words were said
        daemon._reap()

    # Then it is not taken for a failure
    packed = [effect.packed for effect in effects if isinstance(effect, Record)]
    assert [(one.row, one.kind) for one in unpack_outcomes(join_outcomes(packed))] == [(1, HANDED_BACK)]
    for fd in (pipe.fd, pipe.write_end, daemon._children.fd, daemon._signals.fd, daemon._signals._write_fd):
        os.close(fd)
