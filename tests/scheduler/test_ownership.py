"""The lock beside a database."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from hs_common.errors import StoppedError
from hs_scheduler.stores.ownership import LockFile, Owner, holder_of

OWNER = Owner("hs-scheduler", brief=False, host="here", boot="b", pid=1, uuid="u")


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
