"""Where commands are served: what they ask comes in as Requests, is done in the scheduler's own transactions, and is answered.

    Request ──opened──▶ [asked] ──write (inside the transaction)──▶ ──commit──▶ Reply
                           ├── wait: part ▶ [Waits] ──its last task ended──▶ Reply
                           └── search ▶ [Looks] ──its turn──▶ a page ▶ Reply

What changes something has a key: see `answers`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hs_common.errors import HSError, RefusedError, StoppedError, WireError
from hs_common.ids import uuid_text
from hs_common.message_requests import AGAIN, DONE, MISUSED, STOPPED
from hs_common.messages import Reply, Request
from hs_scheduler.events import ClaimedBundle, Send
from hs_scheduler.input.feed import Feed
from hs_scheduler.serving.asking import (
    Submission,
    Update,
    pack_info,
    pack_page,
    scaling_of,
    unpack_ids,
    unpack_look,
    unpack_submission,
    unpack_update,
)
from hs_scheduler.serving.looks import TURN_S, Looks
from hs_scheduler.serving.waits import Asker, Wait, Waits
from hs_scheduler.stores.queue_store import QueueStore
from hs_scheduler.stores.store import Applied, Standing, StoreBusyError

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Changed

WAITS_MAX = 10_000
"""Requests that may wait at once; one more is refused."""

FORGET_S = 3_600.0
"""Between two looks for answers that nobody asks for any more."""

_NO_DATABASE = "this cluster keeps no database (--no-db): nothing can be submitted, changed or waited for"


class Desk:
    """Serves one scheduler's commands.

    Args:
        store: The database; None: there is none.
        feed: Takes submitted tasks.
        status: Returns what `status` answers.

    """

    def __init__(
        self,
        *,
        store: QueueStore | None,
        feed: Feed,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._store = store
        self._feed = feed
        self._status = status
        self._scaling: dict[str, Any] | None = None
        """What whoever scales the cluster decided last, and by which numbers."""
        self._session = b""
        self.looks = Looks()
        self._waits = Waits()
        self._asked: list[tuple[Request, Submission | Update]] = []
        self._done: list[tuple[Request, bytes | HSError]] = []
        """What the present transaction answers."""
        self._changed: list[Changed] = []
        self._replies: list[Send] = []
        self._forget_at = 0.0

    @property
    def has_writes(self) -> bool:
        """Whether something waits for a transaction."""
        return bool(self._asked)

    @property
    def sought(self) -> list[tuple[int, int]]:
        """Among which rows the next transaction changes tasks that must not be out: first and last, included."""
        pieces = [body.piece for _, body in self._asked if isinstance(body, Update)]
        return [(piece.first, piece.last) for piece in pieces if not piece.takes_what_is_out]

    def open(self, session: bytes) -> None:
        """Begin a new session: the broker has told the clients of the one before to ask again."""
        self._session = session
        self.looks.forget_all()
        self._waits.forget_all()
        self._asked.clear()
        self._replies.clear()

    def forget(self, client: bytes) -> None:
        """Forget a client that waits for nothing any more; what it asked to be done is done."""
        self.looks.forget(client)
        self._waits.forget(client)

    def tidy(self, now: float, clock: float) -> None:
        """Drop old answers, now and then: a scheduler may live for weeks.

        Args:
            now: Monotonic seconds.
            clock: Seconds since the epoch, as answers are dated.

        Raises:
            StoreBusyError: Not now.

        """
        if self._store is not None and now >= self._forget_at:
            self._store.forget_answers(clock)
            self._forget_at = now + FORGET_S

    def hear(self, request: Request) -> None:
        """Take a request; what only asks is answered with the next `replies`."""
        try:
            match request.verb:
                case "status":
                    if request.body:
                        self._scaling = scaling_of(request.body)
                    self._reply(request, DONE, _json(self._status() | {"autoscaling": self._scaling}))
                case "wait":
                    self._begin_wait(request, unpack_ids(request.body))
                case "info":
                    self._inform(request, unpack_ids(request.body))
                case "search":
                    self.looks.add(self._with_store(request), unpack_look(request.body))
                case "submit":
                    self._asked.append((self._with_store(request), unpack_submission(request.body)))
                case "update":
                    self._asked.append((self._with_store(request), unpack_update(request.body)))
                case _:
                    raise RefusedError(f"this scheduler knows no {request.verb!r:.40}: is it of another version?")
        except (HSError, StoreBusyError) as exc:
            self._refuse(request, exc)

    def read(self, clock: Callable[[], float]) -> None:
        """Read a page for who has waited longest; clock: monotonic seconds."""
        assert self._store is not None, "only with a store does anybody wait"
        since = clock()
        request, look = self.looks.take()
        try:
            page = self._store.page(look, lambda: clock() - since >= TURN_S)
        except (HSError, StoreBusyError) as exc:
            self._refuse(request, exc)
        else:
            self._reply(request, DONE, pack_page(page))
        self.looks.took(since, clock())

    def write(self, room: int, now: float) -> list[ClaimedBundle]:
        """Do what was asked, inside the transaction; return what of it goes out at once, at most `room` tasks.

        It may be called again if the transaction fails. `now`: wall clock, seconds since the epoch.
        """
        claimed: list[ClaimedBundle] = []
        self._done, self._changed = [], []
        assert self._store is not None or not self._asked
        for request, body in self._asked:
            assert self._store is not None, "only with a store is anything asked"
            answer = self._store.answer_to(body.key)
            if answer is None:
                try:
                    if isinstance(body, Submission):
                        answer, bundles = self._submit(body, room, now)
                        claimed += bundles
                        room -= sum(len(bundle.rows) for bundle in bundles)
                    else:
                        answer = self._update(self._store, body, now)
                except (RefusedError, StoppedError) as exc:
                    self._done.append((request, exc))
                    continue
                self._store.remember(body.key, answer, now)
            self._done.append((request, answer))
        return claimed

    def committed(self, applied: Iterable[Applied]) -> list[tuple[int, int]]:
        """Take note that the transaction stands: answer, and end waits; return (row, dispatch) of what is not to run any more."""
        for request, answer in self._done:
            if isinstance(answer, HSError):
                self._refuse(request, answer)
            else:
                self._reply(request, DONE, answer)
        changed, self._changed = self._changed, []
        self._done.clear()
        self._asked.clear()
        if len(self._waits):
            # What was cancelled or deleted by hand has ended too; whatever else was changed is waited for as before.
            by_hand = [row for change in changed for row in (*dict(change.cancelled), *change.deleted)]
            self._end_waits(self._waits.watched([*by_hand, *(item.row for item in applied if item.state)]))
        return [task for change in changed for task in change.cancelled]

    def replies(self) -> list[Send]:
        """Return what is to be said, and forget it."""
        replies, self._replies = self._replies, []
        return replies

    # --- One function for each verb ---

    def _submit(self, body: Submission, room: int, now: float) -> tuple[bytes, list[ClaimedBundle]]:
        tasks, bundles = self._feed.accept(body.tasks, body.cwd, body.host, room, now)
        answer = {"count": len(tasks), "id": uuid_text(tasks[0].uid) if tasks else None}
        return _json(answer), bundles

    def _update(self, store: QueueStore, body: Update, now: float) -> bytes:
        changed = store.change(body.piece, now)
        self._changed.append(changed)
        return _json({"count": changed.count, "left": changed.left})

    def _inform(self, request: Request, ids: list[bytes]) -> None:
        self._with_store(request)
        assert self._store is not None
        self._reply(request, DONE, pack_info(*self._store.task(ids[0])))

    def _begin_wait(self, request: Request, ids: list[bytes]) -> None:
        self._with_store(request)
        if len(self._waits) >= WAITS_MAX:
            raise StoppedError(f"{WAITS_MAX} commands wait here already")
        standing = {uid: self._standing(uid) for uid in ids}
        asker = (request.client, request.request)
        wait = self._waits.add(asker, {uid: known for uid, known in standing.items() if known is not None})
        if wait.left:
            self._reply(request, DONE, _json({"waiting": len(wait.left)}), more=True)
        else:
            self._answer_wait(asker, wait)

    def _standing(self, uid: bytes) -> Standing:
        assert self._store is not None
        standing = self._store.standing(uid)
        if standing is None:
            raise StoppedError(f"there is no task {uuid_text(uid)} in {self._store.name}")
        return standing

    def _end_waits(self, rows: Sequence[int]) -> None:
        assert self._store is not None
        for row in rows:
            standing = {uid: self._store.standing(uid) for uid in self._waits.ids_at(row)}
            for asker, wait in self._waits.move(row, standing):
                self._answer_wait(asker, wait)

    def _answer_wait(self, asker: Asker, wait: Wait) -> None:
        # Not how: that may be more than a message can hold, and whoever wants to know it looks.
        self._say(asker, DONE, _json({"ended": wait.count}))

    # --- Saying ---

    def _with_store(self, request: Request) -> Request:
        if self._store is None:
            raise StoppedError(_NO_DATABASE)
        return request

    def _reply(self, request: Request, status: int, body: bytes, *, more: bool = False) -> None:
        self._say((request.client, request.request), status, body, more=more)

    def _refuse(self, request: Request, error: Exception) -> None:
        match error:
            case RefusedError() | WireError():
                status = MISUSED
            case StoreBusyError():
                status = AGAIN
            case _:
                status = STOPPED
        self._reply(request, status, str(error).encode(errors="backslashreplace"))

    def _say(self, asker: Asker, status: int, body: bytes, *, more: bool = False) -> None:
        reply = Reply(session=self._session, client=asker[0], request=asker[1], status=status, more=more, body=body)
        self._replies.append(Send(reply))


def _json(answer: object) -> bytes:
    return json.dumps(answer).encode()
