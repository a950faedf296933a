"""What the scheduler decides: how much to hand out, what a peer's word means for the rows, when nothing is out any more.

It knows bundles and rows by number, never their commands: those stay between the store and the wire.

    Claimed ──▶ [SUBMITTED] ──Received──▶ [SUBMITTED, worker known] ──Outcomes closing it──▶ forgotten
                  │    ▲                          │
                  │    └─ new worker ─ [PARKED]   ├─ Lost ──▶ Release its rows
     Refused: fits nobody ───────────────▶        │
    Welcome: every bundle [UNCONFIRMED] ──Attached/Census name it──▶ [SUBMITTED]
                  └─ nobody can have it, or the grace is over ──▶ Release its rows

Who can have what: `holders`. What fits nobody: `parking`. Rules, checked by `check`: those of `out`.
"""

from collections.abc import Iterable, Sequence

from hs_common import limits
from hs_common.errors import StoppedError
from hs_common.message_session import FITS_NOBODY
from hs_common.messages import (
    Attached,
    Cancel,
    Census,
    Credit,
    Demand,
    Drain,
    Heartbeat,
    Lost,
    NewEpoch,
    Received,
    Refused,
    Welcome,
    WhoAreYou,
)
from hs_scheduler.conversation import Conversation, Identity
from hs_scheduler.crew import Crew
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    Connected,
    Disconnected,
    DrainAsked,
    Effect,
    Event,
    ForgetWorker,
    MarkStarted,
    Outcomes,
    Own,
    Record,
    Recorded,
    Release,
    RememberWorker,
    Reopen,
    Running,
    Send,
    Sought,
    Tell,
    Withdrawn,
)
from hs_scheduler.holders import Holders
from hs_scheduler.numbering import Numbering
from hs_scheduler.out import Out, submits, withdrawals
from hs_scheduler.parking import Parking
from hs_scheduler.stores.store import Held
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tasks.state import State

AWAY_S = 5.0
"""`expire` called so late means that this process itself was stopped."""

NOT_BACK = "their workers did not come back in time"
"""What is said of bundles of which nobody spoke since the broker, or this scheduler, came anew."""


class SchedulerCore:
    """Bundles that are out, and what becomes of them.

    Args:
        identity: Who speaks.
        bundlesize: Most tasks in one bundle.
        grace_s: How long, after the census of a new session, to wait for workers that are known but not yet back.
        now: monotonic seconds.

    """

    def __init__(self, *, identity: Identity, bundlesize: int, grace_s: float, now: float) -> None:
        """Start with nothing out and no link."""
        self._bundlesize = bundlesize
        self._grace_s = grace_s
        self._link = Conversation(identity, now)
        self._credit = 0
        self._numbering = Numbering(identity)
        self._out = Out()
        self._crew = Crew()
        self._holders = Holders(self._out, self._crew)
        self._parking = Parking(self._out)
        self._due_at = now + limits.SILENCE_S
        self.draining = False

    def restore(self, held: Iterable[Held], workers: set[bytes]) -> None:
        """Take over what an earlier scheduler had handed out: nobody has confirmed any of it yet."""
        for item in held:
            self._out.find(item.bundle, item.row, item.dispatch, item.worker, item.group)
            if not item.wanted:
                self._out.cancel([(item.row, item.dispatch)])
        self._crew.expect(workers)

    # --- What the shell asks ---

    @property
    def tasks_out(self) -> int:
        """Tasks handed out and not yet reported."""
        return len(self._out)

    @property
    def slots(self) -> int:
        """Slots of all attached workers."""
        return self._crew.slots

    @property
    def workers(self) -> int:
        """Workers attached."""
        return len(self._crew)

    def census(self) -> list[dict[str, str | int]]:
        """Return id, host, slots and tasks in hand of each attached worker."""
        return self._crew.census(self._out.bundles.values())

    def room(self) -> int:
        """Return how many tasks may be claimed now."""
        if self.draining or not self._link.census or self._parking.full:
            return 0
        if self._out.size >= limits.QUEUE_BYTES_MAX // 2:
            return 0
        # What nobody has named is with nobody of those who gave this credit: they shall not wait for a worker that may be dead.
        return max(0, self._credit - (len(self._out) - self._out.parked_tasks - self._out.unconfirmed_tasks))

    @property
    def parked_tasks(self) -> int:
        """Tasks that no worker which is there can take."""
        return self._out.parked_tasks

    def lowest_group_out(self) -> int | None:
        """Return the lowest group of which something is out, or None: nothing is."""
        return self._out.lowest_group()

    def place(self, tasks: Sequence[tuple[bytes, Demand]], sizes: Iterable[int]) -> list[int]:
        """Return a bundle id for each task (its folder and demand): neighbours alike share one, up to the bundle size.

        Never more than an average worker may hold, or no worker could take the bundle, nor more bytes than are sent in one
        piece. `sizes`: of each in a message, bytes.
        """
        tasks_max = min(self._bundlesize, max(1, self._credit // (2 * max(1, len(self._crew)))))
        return self._numbering.place(tasks, sizes, tasks_max)

    def check(self) -> None:
        """Assert the rules; tests call this after every step."""
        self._out.check()

    # --- The face of every core ---

    def handle(self, event: Event, now: float) -> list[Effect]:  # noqa: C901, PLR0911, PLR0912 - the table of all events
        """Take one event at `now` (monotonic seconds); say what to do.

        Raises:
            StoppedError: The broker will never have us (another scheduler owns the store, another version).

        """
        if not isinstance(event, Own):
            self._link.hear(now)
        match event:
            case Outcomes():
                return self._on_outcomes(event)
            case Recorded():
                return self._on_recorded(event)
            case Claimed():
                return self._on_claimed(event, now)
            case Received():
                self._holders.receive(event.worker, event.bundles)
            case Running():
                return [MarkStarted(event.worker, self._crew.host(event.worker), event.started)]
            case Credit():
                self._credit = event.tasks
            case Attached():
                return self._on_attached(event, now)
            case Census():
                return self._on_census(event, now)
            case Lost():
                return self._on_lost(event)
            case Refused():
                return self._on_refused(event, now)
            case Welcome():
                return self._on_welcome(event, now)
            case Connected() | WhoAreYou():
                return [Send(self._link.hello(now))]
            case Disconnected():
                self._link.close()
                self._credit = 0
            case Withdrawn():
                return self._on_withdrawn(event, now)
            case Sought():
                return self._release(self._out.parked_among(event.spans))
            case DrainAsked():
                self.draining = True
                return self._dismiss(event.stop) + self._release(self._out.parked) + self._give_up()
            case Heartbeat() if (answer := self._link.answer(now)) is not None:
                return [Send(answer)]
            case Heartbeat() | NewEpoch() | _:
                pass
        return []

    def settle(self, now: float) -> list[Effect]:
        """Return what to send at the end of a step: acknowledgements, one message per worker."""
        return [Send(committed) for committed in self._link.committed(now)]

    def expire(self, now: float) -> list[Effect]:
        """Beat when there was nothing else to say; reopen a silent link; end the grace of workers that did not come."""
        if now > self._due_at + AWAY_S:  # We were away ourselves (SIGSTOP): nobody else is to blame for the silence.
            self._link.heard_at = now
            self._link.grace_until = max(self._link.grace_until, now + self._grace_s)
        effects: list[Effect] = []
        if self._out.unconfirmed and self._link.census and now >= self._link.grace_until:
            # The next scheduler need not wait for them again.
            effects += [ForgetWorker(worker) for worker in self._crew.give_up()]
            before = len(self._out.bundles)
            effects += self._reconcile()
            if count := before - len(self._out.bundles):
                effects.append(Tell("bundles.lost", NOT_BACK, count))
        if self._link.silent(now):
            effects += [*self.handle(Disconnected(), now), Reopen()]
        else:
            effects += self.beat(now)
        effects += self._parking.remind(now)
        self._due_at = self.deadline()
        return effects

    def beat(self, now: float) -> list[Effect]:
        """Beat, and judge nothing: while nothing can be written nobody is heard. `expire`, which comes after, forgives it."""
        beat = self._link.beat(now)
        return [] if beat is None else [Send(beat)]

    def deadline(self) -> float:
        """Return when `expire` has to be called next (monotonic seconds)."""
        due = min(self._link.deadline(), self._parking.deadline())
        if self._out.unconfirmed and self._link.census:
            due = min(due, self._link.grace_until)
        return due

    def remembered(self, worker: bytes) -> None:
        """Note that the worker is committed; `settle` says so to the broker, which gives it something then."""
        self._link.remember(worker)

    def acknowledge(self, worker: bytes, sequence: int) -> None:
        """Note that the Result is committed; `settle` says so to its worker."""
        self._link.acknowledge(worker, sequence)

    def farewell(self) -> list[Effect]:
        """Return the last words: nothing is out any more, or nobody waits for it here."""
        return [Send(bye) for bye in self._link.bye()]

    # --- One handler for each kind of event ---

    def _on_welcome(self, welcome: Welcome, now: float) -> list[Effect]:
        self._link.open(welcome.session, now)
        self._credit = 0
        self._holders.doubt()
        return []

    def _on_attached(self, attached: Attached, now: float) -> list[Effect]:
        effects: list[Effect] = [RememberWorker(attached.worker, attached.replaces, attached.host)]
        effects += self._release(self._holders.attach(attached))
        effects += self._withdraw_again(attached.bundles, now)
        return [*effects, *self._unpark(now), *self._reconcile()]

    def _on_census(self, census: Census, now: float) -> list[Effect]:
        self._holders.queue(census.queued)
        effects = self._withdraw_again(census.queued, now)
        if census.more:
            return effects
        self._link.census = True
        self._link.grace_until = now + self._grace_s
        return effects + self._reconcile()

    def _on_lost(self, lost: Lost) -> list[Effect]:
        effects = self._release([bundle for bundle in lost.bundles if bundle in self._out.bundles])
        if lost.bundles:
            effects.append(Tell("bundles.lost", lost.reason, len(lost.bundles)))
        if lost.gone:
            forgotten = [ForgetWorker(worker) for worker in self._crew.lose(lost.worker)]
            effects = [*forgotten, *effects, *self._reconcile(), *self._give_up()]
        return effects

    def _on_refused(self, refused: Refused, now: float) -> list[Effect]:
        if refused.fatal:
            raise StoppedError(f"the broker refuses this scheduler: {refused.reason}")
        known = [bundle for bundle in refused.bundles if bundle in self._out.bundles]
        if refused.reason != FITS_NOBODY or self.draining:  # then nobody is waited for any more
            return self._release(known)
        # What was cancelled meanwhile is not kept: sent again as it is, its body would bring the cancelled tasks along.
        cancelled = [bundle for bundle in known if self._out.bundles[bundle].unwanted]
        kept = [bundle for bundle in known if not self._out.bundles[bundle].unwanted]
        return [*self._release(cancelled), *self._parking.park(kept, now)]

    def _on_outcomes(self, result: Outcomes) -> list[Effect]:
        if not self._link.follows(result.worker, result.sequence, result.oldest):
            return []
        # An outcome of an older dispatch leaves the newer one out; `Recorded` tells if it settled the row.
        self._out.report(result.outcomes, result.closed)
        effects: list[Effect] = [
            Record(result.worker, self._crew.host(result.worker), result.sequence, result.outcomes)
        ]
        left = [bundle for bundle in result.closed if bundle in self._out.bundles]
        return effects + self._release(left) if left else effects

    def _on_recorded(self, recorded: Recorded) -> list[Effect]:
        effects: list[Effect] = []
        all_of_them = recorded.applied
        if isinstance(all_of_them, Succeeded) and self._out.bundle_of.keys().isdisjoint(all_of_them.outcomes.rows):
            return effects
        for applied in all_of_them:
            bundle = self._out.bundle_of.get(applied.row)
            if bundle is None or applied.state is State.NEW:
                continue
            # First success wins: a newer dispatch of the row is out and no longer wanted.
            out = self._out.bundles[bundle]
            if out.worker and self._link.session:
                task = (applied.row, out.rows[applied.row])
                effects.append(Send(Cancel(session=self._link.session, worker=out.worker, tasks=(task,))))
            self._out.forget(bundle, applied.row)
        return effects

    def _on_claimed(self, claimed: Claimed, now: float) -> list[Effect]:
        self._out.add(claimed.bundles)
        if not self._link.session:  # The link broke since the claim: the next Welcome finds them unconfirmed.
            return []
        return self._submit(claimed.bundles, now)

    def _on_withdrawn(self, withdrawn: Withdrawn, now: float) -> list[Effect]:
        """Have these stopped or forgotten. They stay out until whoever has them lets go: then their slots are free."""
        bundles = self._out.cancel(withdrawn.tasks)
        parked = set(self._out.parked)
        # What lies here goes back to the store: only there it can be taken apart.
        return self._release([bundle for bundle in bundles if bundle in parked]) + self._withdraw(
            [bundle for bundle in bundles if bundle not in parked], now
        )

    # --- Helpers ---

    def _withdraw(self, bundles: Sequence[int], now: float) -> list[Effect]:
        """Say which tasks of these bundles are not wanted; again after each reconnect, for it may have been lost."""
        if not bundles or not self._link.session:
            return []
        self._link.said_at = now
        return [Send(withdraw) for withdraw in withdrawals(self._link.session, self._out, bundles)]

    def _withdraw_again(self, bundles: Iterable[int], now: float) -> list[Effect]:
        if not self._out.unwanted:
            return []
        known = [bundle for bundle in bundles if bundle in self._out.bundles]
        return self._withdraw([bundle for bundle in known if self._out.bundles[bundle].unwanted], now)

    def _submit(self, bundles: Sequence[ClaimedBundle], now: float) -> list[Effect]:
        self._link.said_at = now
        return [Send(submit) for submit in submits(self._link.session, bundles)]

    def _unpark(self, now: float) -> list[Effect]:
        """Try again what fitted nobody, now that another worker is here."""
        if not self._out.parked_tasks or not self._link.session:
            return []
        again, bare = self._parking.clear()
        return self._release(bare) + self._submit(again, now)

    def _reconcile(self) -> list[Effect]:
        """Release what nobody can have any more."""
        if not self._out.unconfirmed or not self._link.census:
            return []
        return self._release(self._holders.nobodys())

    def _dismiss(self, stop: bool | None) -> list[Effect]:  # noqa: FBT001 - as in the event
        """Let all workers leave. Said before the last results are acknowledged, so that none starts anything after those."""
        if stop is None or not self._link.session:
            return []
        return [Send(Drain(session=self._link.session, worker=b"", now=stop))]

    def _give_up(self) -> list[Effect]:
        """Release what waits in the broker when the last worker has left a cluster that drains: nobody will take it."""
        if not self.draining or not self._link.census or len(self._crew):
            return []
        return self._release(self._holders.queued())

    def _release(self, bundles: Sequence[int]) -> list[Effect]:
        """Forget these bundles; their rows are NEW again."""
        rows = self._out.take(bundles)
        return [Release(rows)] if rows else []
