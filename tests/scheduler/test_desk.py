"""What commands ask of a scheduler, against a real database: done once, answered, and waited for without polling."""

import contextlib
import json
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import pytest
from tests.scheduler.cores import W1, a_core, live, outcome

from hs_common.message_requests import DONE, MISUSED, STOPPED
from hs_common.messages import Reply, Request
from hs_common.tasks import Detail, Outcome
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import Claimed, ClaimedBundle
from hs_scheduler.input.feed import Feed
from hs_scheduler.serving.asking import (
    SUBMIT_TASKS_MAX,
    Submission,
    Update,
    new_key,
    pack_ids,
    pack_submission,
    pack_update,
)
from hs_scheduler.serving.desk import Desk
from hs_scheduler.stores.changes import Action, Change, Piece
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN, Applied, NewTask, Retry, StoreBusyError
from hs_scheduler.tasks.filters import Filter

CLIENT, OTHER, SESSION = b"c" * 16, b"d" * 16, b"s" * 16
ONCE = Retry(0, eager=False)


class Bench:
    """A desk and what it works with; `commit` is a step of the scheduler."""

    def __init__(self, store: SqliteStore, core: SchedulerCore) -> None:
        self.store, self.core = store, core
        self.feed = Feed(
            store=store, source=None, core=core, cwd=b"/", bundlesize=1, bundlewait_s=0, ahead_max=None,
            adopts=store.whole,
        )  # fmt: skip
        self.desk = Desk(store=store, feed=self.feed, status=lambda: {"slots": 2})
        self.desk.open(SESSION)

    def ask(self, verb: str, body: bytes = b"", request: int = 1, client: bytes = CLIENT) -> None:
        self.desk.hear(Request(session=SESSION, client=client, request=request, verb=verb, body=body))

    def commit(self, *outcomes: Outcome, retry: Retry = ONCE) -> list[ClaimedBundle]:
        applied: list[Applied] = []
        with self.store.transaction():
            self.feed.begin()
            if outcomes:
                applied = list(self.store.record(W1, "n1", outcomes, retry, 5.0))
            claimed = self.desk.write(self.core.room(), 5.0)
            claimed += self.feed.fill(self.core.room() - sum(len(bundle.rows) for bundle in claimed), 5.0, 5.0)
        self.core.handle(Claimed(claimed), now=1)
        self.withdrawn = self.desk.committed(applied)
        self.rejected = self.feed.committed()
        return claimed

    def said(self) -> list[Reply]:
        return [send.message for send in self.desk.replies() if isinstance(send.message, Reply)]

    def answer(self) -> Any:
        (reply,) = self.said()
        assert (reply.session, reply.status, reply.more) == (SESSION, DONE, False)
        return json.loads(reply.body)

    def refusal(self) -> tuple[int, str]:
        (reply,) = self.said()
        return reply.status, reply.body.decode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "tasks.db"))
    store.open_run(NO_RUN, {}, 1.0)
    yield store
    store.close()


@pytest.fixture
def bench(store: SqliteStore) -> Bench:
    return Bench(store, live(a_core()))


def tasks(*lines: bytes, group: int = 0, detail: Detail | None = None) -> list[NewTask]:
    return [NewTask(line, detail, group, 0, "") for line in lines]


def submission(*lines: bytes, key: bytes | None = None, **how: Any) -> bytes:
    return pack_submission(Submission(key or new_key(), "laptop", b"/home", tasks(*lines, **how)))


def uid_of(answer: dict[str, Any]) -> bytes:
    return UUID(answer["id"]).bytes


def test_a_submitted_task_goes_out_in_the_transaction_that_adds_it(bench: Bench) -> None:
    """One commit from submit to start."""
    bench.ask("submit", submission(b"true"))
    (bundle,) = bench.commit()
    answer = bench.answer()
    assert (answer["count"], bundle.rows) == (1, [(1, 1)])
    assert (bench.store.counts.assigned, bench.store.counts.new) == (1, 0)
    row = next(bench.store._engine.stream("SELECT run, host, cwd FROM task JOIN place USING (place)"))
    assert row == (None, "laptop", b"/home")


def test_what_finds_no_room_waits_in_the_store(bench: Bench) -> None:
    bench.ask("submit", submission(*[b"true"] * 20))
    assert sum(len(bundle.rows) for bundle in bench.commit()) == bench.store.counts.assigned == 8
    assert bench.store.counts.new == 12


def test_the_same_key_is_done_once_and_answered_the_same(bench: Bench) -> None:
    """Its answer was lost with a broker or a scheduler: the client cannot know whether it was done."""
    body = submission(b"true", b"false")
    bench.ask("submit", body)
    bench.commit()
    first = bench.answer()

    bench.ask("submit", body, request=2)
    bench.commit()

    assert bench.answer() == first
    assert bench.store.counts.assigned == 2


def test_a_key_is_remembered_by_the_next_scheduler_and_for_a_day(bench: Bench, tmp_path: Path) -> None:
    key = new_key()
    bench.ask("submit", submission(b"true", key=key))
    bench.commit()
    bench.store.close()
    store = SqliteStore(str(tmp_path / "tasks.db"))
    with store.transaction():
        store.remember(b"k" * 16, b"later", 5.0 + 86_500)
    store.forget_answers(5.0 + 86_000)
    assert store.answer_to(key) is not None
    store.forget_answers(5.0 + 87_000)
    assert store.answer_to(key) is None
    store.close()


def test_a_clock_that_is_set_forward_makes_no_answer_old(bench: Bench) -> None:
    """At the start of a machine it may be set by years, while somebody waits to ask again."""
    key = new_key()
    bench.ask("submit", submission(b"true", key=key))
    bench.commit()

    bench.store.forget_answers(1e9)

    assert bench.store.answer_to(key) is not None


def test_old_answers_go_while_a_scheduler_lives_on(bench: Bench) -> None:
    """Else those of a queue that lasts for weeks would never go; but not with each step, for it looks at all of them."""
    with bench.store.transaction():
        bench.store.remember(b"k" * 16, b"the last one", 5.0 + 90_000)

    def remembered(*times: float) -> bool:
        key = new_key()
        bench.ask("submit", submission(b"true", key=key))
        bench.commit()
        for now in times:
            bench.desk.tidy(now, 5.0 + 90_000)
        return bench.store.answer_to(key) is not None

    assert [remembered(10.0), remembered(11.0, 3_000.0), remembered(3_000.0, 3_700.0)] == [False, True, False]


def test_a_transaction_that_fails_is_done_again_whole(bench: Bench) -> None:
    """Nothing is answered before the commit."""
    bench.ask("submit", submission(b"true"))

    with contextlib.suppress(StoreBusyError), bench.store.transaction():
        bench.desk.write(8, 5.0)
        raise StoreBusyError

    assert bench.said() == []
    bench.commit()
    assert bench.answer()["count"] == 1
    assert bench.store.counts.assigned == 1


@pytest.mark.parametrize("others", [1, 20])  # goes out at once; finds no room
def test_what_is_submitted_and_can_never_run_is_told_apart(bench: Bench, others: int) -> None:
    """The summary of a queue names the reason, as for a line of the input; also where the first try of the commit failed."""
    some = [*tasks(*[b"true"] * others), NewTask(b"a\0", None, 0, 0, "NUL in the line")]
    bench.ask("submit", pack_submission(Submission(new_key(), "laptop", b"/home", some)))
    with contextlib.suppress(StoreBusyError), bench.store.transaction():
        bench.desk.write(8, 5.0)
        raise StoreBusyError

    bench.commit()

    assert [reason for _, reason in bench.rejected] == ["NUL in the line"]
    bench.commit()
    assert bench.rejected == []


def test_groups_hold_for_what_is_submitted_too(bench: Bench) -> None:
    bench.ask("submit", submission(b"first"))
    bench.commit()
    bench.ask("submit", submission(b"second", group=1), request=2)
    assert bench.commit() == []
    assert [bundle.group for bundle in bench.commit(outcome(1))] == []
    bench.core.handle(Claimed([]), now=1)


def test_a_run_that_cares_for_its_own_tasks_only_keeps_others_for_later(tmp_path: Path) -> None:
    """A one-shot with a database that others use: accepted, not run by it, not counted as its."""
    store = SqliteStore(str(tmp_path / "own.db"))
    store.open_run(b"r" * 16, {}, 1.0)
    bench = Bench(store, live(a_core()))
    bench.ask("submit", submission(b"true"))
    assert bench.commit() == []
    assert bench.answer()["count"] == 1
    assert (store.counts.new, store.counts.assigned, store.others()) == (0, 0, 1)
    store.close()


def test_a_wait_is_answered_when_the_task_has_ended(bench: Bench) -> None:
    bench.ask("submit", submission(b"exit 3"))
    bench.commit()
    uid = uid_of(bench.answer())

    bench.ask("wait", pack_ids([uid]), request=2)
    (part,) = bench.said()
    assert (part.more, json.loads(part.body)) == (True, {"waiting": 1})
    bench.commit(outcome(1)._replace(status=3 << 8))

    assert bench.answer() == {"ended": 1}


def test_a_wait_ends_when_its_task_is_deleted_and_not_when_it_is_held(store: SqliteStore) -> None:
    bench = Bench(store, live(a_core(), credit=0))
    bench.ask("submit", submission(b"true"))
    bench.commit()
    bench.ask("wait", pack_ids([uid_of(bench.answer())]), client=OTHER)
    bench.said()
    said = []
    for action in (Action.HOLD, Action.DELETE):
        bench.ask("update", pack_update(Update(new_key(), Piece(Change(filter=Filter(), action=action), 1, 9))))
        bench.commit()
        said.append([reply.client for reply in bench.said()])

    assert said == [[CLIENT], [CLIENT, OTHER]]


def test_a_wait_for_what_has_ended_is_answered_at_once(bench: Bench) -> None:
    bench.ask("submit", submission(b"true"))
    bench.commit()
    uid = uid_of(bench.answer())
    bench.commit(outcome(1))
    bench.ask("wait", pack_ids([uid]))
    assert bench.answer() == {"ended": 1}


def test_a_wait_follows_the_retries(bench: Bench) -> None:
    bench.ask("submit", submission(b"exit 1"))
    bench.commit()
    uid = uid_of(bench.answer())
    bench.ask("wait", pack_ids([uid]))
    bench.said()

    (again,) = bench.commit(outcome(1)._replace(status=1 << 8), retry=Retry(1, eager=False))
    assert bench.said() == []
    bench.commit(outcome(again.rows[0][0]), retry=Retry(1, eager=False))

    assert bench.answer() == {"ended": 1}


def test_the_end_of_however_many_tasks_is_one_short_word(bench: Bench) -> None:
    """All that is known of them could be more than a message may hold."""
    bench.ask("submit", submission(*(b"true " + b"x" * 3000 for _ in range(300))))
    bench.commit()
    bench.said()
    uids = [uid for (uid,) in bench.store._engine.stream("SELECT uid FROM task")]
    bench.ask("wait", pack_ids(uids))
    bench.said()
    cancel = Change(filter=Filter(), action=Action.CANCEL)
    bench.ask("update", pack_update(Update(new_key(), Piece(cancel, 1, 300))), request=2)

    bench.commit()

    assert max(len(reply.body) for reply in bench.said()) < 100


@pytest.mark.parametrize("leave", [lambda desk: desk.forget(CLIENT), lambda desk: desk.open(SESSION)])
def test_who_left_is_not_answered(bench: Bench, leave: Callable[[Desk], None]) -> None:
    """His subscription ends with him, and all with the session: whoever still waits asks again."""
    bench.ask("submit", submission(b"true"), client=OTHER)
    bench.commit()
    bench.ask("wait", pack_ids([uid_of(bench.answer())]))
    bench.said()
    leave(bench.desk)
    bench.commit(outcome(1))
    assert bench.said() == []


def test_an_update_tells_what_is_not_to_run_any_more_and_ends_waits(store: SqliteStore) -> None:
    """Once for each key."""
    bench = Bench(store, live(a_core()))
    bench.ask("submit", submission(b"sleep 100"))
    bench.commit()
    bench.ask("wait", pack_ids([uid_of(bench.answer())]), client=OTHER)
    bench.said()
    cancel = Change(filter=Filter(conditions=("args == sleep 100",)), action=Action.CANCEL)
    body = pack_update(Update(new_key(), Piece(cancel, 1, 9)))

    bench.ask("update", body)
    bench.commit()

    changed, waited = bench.said()
    assert json.loads(changed.body) == {"count": 1, "left": {}}
    assert json.loads(waited.body) == {"ended": 1}
    assert bench.withdrawn == [(1, 1)]
    bench.ask("update", body)
    bench.commit()
    assert (bench.answer(), bench.withdrawn) == ({"count": 1, "left": {}}, [])


@pytest.mark.parametrize(
    ("verb", "body", "status", "reason"),
    [
        ("dance", b"", MISUSED, "this scheduler knows no 'dance': is it of another version?"),
        ("submit", b"\xc1", MISUSED, "body is not msgpack"),
        ("submit", pack_ids([bytes(16)]), MISUSED, "not a submission"),
        ("submit", submission(*[b"x"] * (SUBMIT_TASKS_MAX + 1)), MISUSED, "a submission with a field out of bounds"),
        ("wait", pack_ids([]), MISUSED, "not a list of 1..10000 ids"),
        ("wait", pack_ids([b"short"]), MISUSED, "an id or key is not 16 bytes"),
        ("wait", pack_ids([bytes(16)]), STOPPED, "there is no task 00000000-0000-0000-0000-000000000000 in "),
        ("update", b"\x01", MISUSED, "not an update"),
        ("update", msgpack.packb([bytes(16), [None, 1, 1, None]]), MISUSED, "not a change of tasks"),
    ],
)
def test_what_makes_no_sense_is_refused(bench: Bench, verb: str, body: bytes, status: int, reason: str) -> None:
    bench.ask(verb, body)
    said, why = bench.refusal()
    assert (said, why[: len(reason)]) == (status, reason)


@pytest.mark.parametrize(
    "field",
    [
        {"args": b"a\0b"},
        {"args": "text"},
        {"group": 2**63},
        {"priority": 1.5},
        {"detail": [nan, 0, 0, [], b""]},
        {"detail": [0.0, 2**64 - 1, 0, [], b""]},
        {"detail": [0.0, 0, -1, [], b""]},
        {"detail": [0.0, 0, 0, [["k", [1]]], b""]},
        {"detail": [0.0, 0, 0, [["k", b"bytes"]], b""]},
        {"detail": [0.0, 0, 0, [["k", inf]], b""]},
        {"detail": [0.0, 0, 0, [["k", 2**64 - 1]], b""]},
        {"detail": [0.0, 0, 0, [["a b", 1]], b""]},
        {"detail": [0.0, 0, 0, [["group", 1]], b""]},
        {"detail": [0.0, 0, 0, [["k", 1]] * 101, b""]},
    ],
    ids=repr,
)
def test_a_task_as_no_command_of_ours_makes_it_is_refused(bench: Bench, field: dict[str, Any]) -> None:
    """Behind this border nobody checks again: no database could hold it, or no worker run it."""
    task = {"args": b"true", "detail": None, "group": 0, "priority": 0, "rejected": ""} | field

    bench.ask("submit", msgpack.packb([new_key(), "laptop", b"/home", [list(task.values())]]))

    said, why = bench.refusal()
    assert (said, why[:7]) == (MISUSED, "a task ")


def test_a_command_of_several_lines_is_a_task(bench: Bench) -> None:
    """A template may have some (`hs submit --template`), and a database that nobody owns takes it."""
    bench.ask("submit", submission(b"cd x\necho y"))
    bench.commit()

    assert bench.answer()["count"] == 1


def test_without_a_database_only_the_status_is_told() -> None:
    core = live(a_core())
    desk = Desk(store=None, feed=None, status=lambda: {"slots": core.slots})  # type: ignore[arg-type] # never asked
    for verb, body in (("submit", submission(b"true")), ("wait", pack_ids([bytes(16)])), ("status", b"")):
        desk.hear(Request(session=SESSION, client=CLIENT, request=1, verb=verb, body=body))
    assert [(send.message.status, b"keeps no database" in send.message.body) for send in desk.replies()] == [  # type: ignore[union-attr]
        (STOPPED, True),
        (STOPPED, True),
        (DONE, False),
    ]
