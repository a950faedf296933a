"""The lock beside a database."""

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
from tests.faults.processes import PATIENCE_S

from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_scheduler.stores.database import Database
from hs_scheduler.stores.ownership import RENEW_S, STALE_S, LockFile, Owner, holder_of, this_process

OWNER = Owner("hs-scheduler", brief=False, host="here", boot="b", pid=1, uuid="u")


@pytest.fixture(autouse=True)
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer than it takes here."""
    monkeypatch.setattr("hs_scheduler.stores.ownership.WATCH_S", 1.0)


def test_who_only_looks_at_the_lock_of_a_dead_owner_keeps_nobody_out(tmp_path: Path) -> None:
    """What it wrote is still there, and a look locks the file for a moment."""
    path = str(tmp_path / "tasks.db.lock")
    dead = LockFile.take(path, OWNER._replace(uuid="dead"), needed=True)
    assert dead is not None
    os.close(dead._fd)
    look = os.open(path, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    end = threading.Timer(0.2, os.close, [look])
    end.start()

    lock = LockFile.take(path, OWNER, needed=True)

    end.join()
    assert lock is not None
    assert holder_of(path) == OWNER
    with pytest.raises(StoppedError, match="is owned by hs-scheduler"):
        LockFile.take(path, OWNER, needed=True)
    lock.release()
    assert holder_of(path) is None


def test_a_lock_in_which_nobody_stands_is_waited_for_and_then_named_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another program, as one that copies the folder; an owner of ours writes its name as soon as it has the lock."""
    monkeypatch.setattr("hs_scheduler.stores.ownership.WAIT_S", 0.0)
    path = tmp_path / "tasks.db.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(StoppedError, match=r"tasks.db is owned by another program$"):
            LockFile.take(str(path), OWNER, needed=True)


def test_a_command_waits_longer_for_another_one_than_a_daemon_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon has others that wait for it; a submit of a million lines takes longer than that."""
    monkeypatch.setattr("hs_scheduler.stores.ownership.WAIT_S", 0.0)
    path = str(tmp_path / "tasks.db.lock")
    brief = OWNER._replace(program="hs submit", brief=True)
    first = LockFile.take(path, brief, needed=True)
    assert first is not None
    with pytest.raises(StoppedError, match="is owned by hs submit"):
        LockFile.take(path, OWNER, needed=True)

    end = threading.Timer(0.2, first.release)
    end.start()
    second = LockFile.take(path, brief, needed=True)

    end.join()
    assert second is not None
    second.release()


# --- Locks that do not reach other hosts ---


def test_an_owner_on_another_host_is_seen_without_its_lock(tmp_path: Path) -> None:
    """As on Lustre with localflock. Whoever opened its database meanwhile would remove its log at the end."""
    path = str(tmp_path / "tasks.db.lock")
    now = int(wall())
    far = left_behind(path, OWNER._replace(control="/home/connect/main/control.json", renewed_at=now))
    here = this_process("hs submit", brief=True)

    assert holder_of(path) == far
    with pytest.raises(StoppedError, match="is owned by hs-scheduler on host here, pid 1"):
        LockFile.take(path, here._replace(renewed_at=now + int(STALE_S) - 1), needed=False)

    lock = LockFile.take(path, here._replace(renewed_at=now + int(STALE_S)), needed=False)
    assert lock is not None
    lock.release()


def test_an_owner_whose_clock_is_an_hour_behind_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It renews what it said, whatever its clock shows, and whoever wants the database waits for that."""
    monkeypatch.setattr("hs_scheduler.stores.ownership.WATCH_S", PATIENCE_S)
    path = str(tmp_path / "tasks.db.lock")
    hour_ago = int(wall()) - 3600
    left_behind(path, OWNER._replace(renewed_at=hour_ago))
    renewal = threading.Timer(0.2, left_behind, [path, OWNER._replace(renewed_at=hour_ago + int(RENEW_S))])
    renewal.start()

    with pytest.raises(StoppedError, match="is owned by hs-scheduler on host here"):
        LockFile.take(path, this_process("hs-scheduler", brief=False)._replace(renewed_at=int(wall())), needed=False)
    renewal.join()


def test_the_lock_of_an_owner_that_leaves_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hs_scheduler.stores.ownership.WATCH_S", PATIENCE_S)
    path = str(tmp_path / "tasks.db.lock")
    left_behind(path, OWNER._replace(renewed_at=int(wall()) - 3600))
    end = threading.Timer(0.2, os.unlink, [path])
    end.start()

    lock = LockFile.take(path, this_process("hs-scheduler", brief=False)._replace(renewed_at=int(wall())), needed=False)

    end.join()
    assert lock is not None
    lock.release()


def test_an_owner_that_was_silent_for_long_is_taken_for_dead(tmp_path: Path) -> None:
    path = str(tmp_path / "tasks.db.lock")
    left_behind(path, OWNER._replace(renewed_at=int(wall() - STALE_S) - 1))

    assert holder_of(path) is None


@pytest.mark.parametrize("renewed_at", [0, int(wall()) + 86_400], ids=["long ago", "before the clock was set back"])
def test_an_owner_that_was_taken_for_dead_does_not_write_any_more(tmp_path: Path, renewed_at: int) -> None:
    """It may have been stopped for minutes: it looks before its next transaction."""
    path = str(tmp_path / "tasks.db")
    database = Database(path, this_process("hs-scheduler", brief=False), wall() - RENEW_S, lambda _: "Lustre")
    database.begin()
    database.roll_back()
    assert (holder := holder_of(f"{path}.lock")) is not None
    assert wall() - holder.renewed_at < RENEW_S

    left_behind(f"{path}.lock", OWNER._replace(renewed_at=int(wall())))
    database._owner = database._owner._replace(renewed_at=renewed_at)
    with pytest.raises(StoppedError, match="was taken over by another scheduler"):
        database.begin()
    database.close()
    assert holder_of(f"{path}.lock") is not None, "it is not ours to remove"
    assert os.path.getsize(f"{path}-wal") > 0, "nor is the log"


def left_behind(path: str, owner: Owner) -> Owner:
    """Write a lock file as another host does, whose lock does not reach us."""
    Path(f"{path}.new").write_text(json.dumps(owner._asdict()))
    os.rename(f"{path}.new", path)
    return owner
