"""A supervisor for tests, and what it is told."""

from collections.abc import Sequence

from hs_deploy.daemons import Daemon
from hs_deploy.supervision.events import DaemonEnded, Effect, Event, Finish, Progressed, Warn
from hs_deploy.supervision.supervisor import SupervisorCore

BROKER, SCHEDULER, WORKER = Daemon.BROKER, Daemon.SCHEDULER, Daemon.WORKER


def a_running_core(*, recorded: bool = True, awaits_outputs: bool = False) -> SupervisorCore:
    """All three are up, and the scheduler has reported."""
    core = SupervisorCore(recorded=recorded, signalwait_s=10, awaits_outputs=awaits_outputs)
    core.begin()
    core.handle(Progressed(finished=0, left=5), 0)
    return core


def killed(daemon: Daemon) -> DaemonEnded:
    return DaemonEnded(daemon=daemon, status=-9)


def again(daemon: Daemon) -> Warn:
    """What is said of one that was killed."""
    return Warn(f"{daemon} was killed by SIGKILL: it is started again")


def play(core: SupervisorCore, *events: Event, now: float = 1) -> list[Effect]:
    """Hand over events one after the other; return the effects of the last."""
    effects: list[Effect] = []
    for event in events:
        effects = core.handle(event, now)
        core.check()
    return effects


def all_left(core: SupervisorCore) -> list[Effect]:
    """All daemons follow their lifelines; return how it ended."""
    effects = [effect for daemon in Daemon for effect in core.handle(DaemonEnded(daemon=daemon, status=0), 60)]
    return only(Finish, effects)


def only(kind: type[Effect], effects: Sequence[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]
