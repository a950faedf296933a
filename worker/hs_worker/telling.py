"""What a worker says to its broker of its own accord, and when. No IO.

Hello ── who we are, what we hold ──▶ session
Ready ── what we can take ─┐
Received, Result ── news ──┼──▶ after each event, or when their time has come
Running ── long tasks ─────┘         Heartbeat ──▶ when nothing else was said for long
"""

from math import inf

from hs_common import limits, messages
from hs_common.messages import Message, Running
from hs_common.tasks import pack_started
from hs_worker.credit import Credit
from hs_worker.departure import Departure
from hs_worker.events import Effect, Reopen, Send
from hs_worker.reports import Reports
from hs_worker.session import Session, hello
from hs_worker.settings import Identity, Rules
from hs_worker.tasks.holding import Holding

_TICK_S = 0.5
"""How often long tasks are looked for."""
_EXCUSE_S = 20.0
"""How often we say that it is not for us that nothing starts; the broker warns of a worker without a word after a minute."""


class Telling:
    """Of one worker. Instants are monotonic seconds.

    Args:
        rules: Limits and options.
        identity: Who we are.
        holding: What we have.
        departure: Whether we leave.
        out: Where effects are appended.
        now: Monotonic seconds.

    """

    def __init__(
        self, *, rules: Rules, identity: Identity, holding: Holding, departure: Departure, out: list[Effect], now: float
    ) -> None:
        self._rules = rules
        self._identity = identity
        self._holding = holding
        self._departure = departure
        self._out = out
        self.session = Session(heard_at=now)
        self.reports = Reports(holding.outbox, identity.worker, rules.bundlewait_s)
        self.credit = Credit(holding)
        self._tick_at = inf
        self._excused_at = -inf

    def greet(self, now: float) -> None:
        """Say who we are and what we hold; what session there was is over."""
        offer = self.credit.tell(now, draining=self._departure.draining)
        self.session.greet(now)
        self.reports.forget_received()
        inventory, seconds = self._holding.outcomes.inventory(), self._holding.end.seconds(now)
        self._out.append(Send(hello(self._identity, self._rules, inventory, offer=offer, seconds=seconds)))

    def again(self, now: float) -> None:
        """Send all that is not committed, in its order: the other side may never have seen it, and duplicates are harmless."""
        for message in self.reports.again(self.session.token):
            self.say(message, now)
        self._holding.tell_again()
        if self._tick_at != inf:
            self._tick(now)

    def say(self, message: Message, now: float) -> None:
        """Send something in the session."""
        self.session.said_at = now
        self._out.append(Send(message))

    def beat(self, now: float) -> None:
        """Say that we are alive."""
        self.say(messages.Heartbeat(session=self.session.token), now)

    def settle(self, now: float) -> None:
        """Say what has changed, after each event."""
        if self._tick_at == inf and self._ticks:
            self._tick_at = now + _TICK_S
        if not self.session.token:
            return
        if self.reports.has_news:
            self._report(now)
        if now >= self.credit.look_at:
            self._offer(now)

    def expire(self, now: float) -> None:
        """Say what is due; give up a broker that is silent."""
        if self.session.must_reopen(now):
            self.session.give_up(now)
            self._out.append(Reopen())
        elif self.session.must_greet(now):
            self.greet(now)
        elif self.session.must_beat(now):
            self.beat(now)
        if now >= self._tick_at:
            self._tick(now)

    def deadline(self) -> float:
        """Return when something of this is due."""
        return min(self.session.deadline(), self._tick_at, self.reports.due_at if self.session.token else inf)

    @property
    def _ticks(self) -> bool:
        return bool(self._holding.slots.running) or self._holding.unread

    def _tick(self, now: float) -> None:
        """Tell which tasks have been running for long; of none, where none starts because nobody reads our outputs."""
        if self.session.token:
            started = self._holding.long_running(now)
            excuse = self._holding.unread and now >= self._excused_at + _EXCUSE_S
            if excuse:
                self._excused_at = now
            for at in range(0, len(started) or excuse, limits.IDS_MAX):
                body = pack_started(started[at : at + limits.IDS_MAX])
                self.say(Running(session=self.session.token, worker=self._identity.worker, body=body), now)
        self._tick_at = now + _TICK_S if self._ticks else inf

    def _report(self, now: float) -> None:
        """Tell what is new if its time has come."""
        slots, credit = self.credit.told
        if self._holding.judgement.pending or self.reports.due(now, len(self._holding.waiting), slots, credit - slots):
            for message in self.reports.fresh(now, self.session.token):
                self.say(message, now)

    def _offer(self, now: float) -> None:
        """Tell how much we can take, if that changed by enough."""
        if not self.credit.changed(now, draining=self._departure.draining):
            return
        slots, credit = self.credit.tell(now, draining=self._departure.draining)
        ready = messages.Ready(
            session=self.session.token,
            slots=slots,
            credit=credit,
            cores=self._rules.cores,
            memory=self._rules.memory,
            seconds=self._holding.end.seconds(now),
        )
        self.say(ready, now)
