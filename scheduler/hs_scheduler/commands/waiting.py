"""Until tasks have ended: told by the scheduler that takes care of them, never asked for again and again.

look ──ended, no retry follows──▶ done
├──── a scheduler owns the database ──▶ ask it to say so ──▶ look
└──── nobody does ──▶ it would be for ever: status 3
"""

from collections.abc import Sequence
from contextlib import closing
from math import inf
from typing import Any

from hs_common.client import Client, NobodyError
from hs_common.errors import StoppedError
from hs_common.ids import uuid_text
from hs_scheduler.commands.finding import Finder, Found, uid_of
from hs_scheduler.commands.live import OWNERS_MAX, client_of
from hs_scheduler.serving.asking import WAIT_IDS_MAX, pack_ids
from hs_scheduler.stores.locations import shown
from hs_scheduler.tasks.state import State

NO_STATUS = 125
"""What is returned for a task that has no exit status: cancelled, refused, or the end of its worker."""

SIGNALLED = 128
"""Added to the signal that ended a task, as a shell does."""

ENDS = frozenset(state.name for state in State if state >= State.DONE)


def ended(uids: Sequence[bytes], asked: str | None, until: float = inf) -> list[Found]:
    """Wait for the end of tasks, their retries included; return the last attempt of each.

    Args:
        uids: 16 bytes each.
        asked: The only database to look at, or None.
        until: When to give up, monotonic seconds.

    Raises:
        StoppedError: There is no such task, or nobody will ever run it.
        DeadlineError: `until` came.

    """
    found = last_attempts(uids, asked)
    for location in dict.fromkeys(task.database for task in found.values()):
        mine = [uid for uid, task in found.items() if task.database == location]
        found |= _ended_in(location, {uid: found[uid] for uid in mine}, until)
    return [found[uid] for uid in uids]


def _ended_in(location: str, found: dict[bytes, Found], until: float) -> dict[bytes, Found]:
    """Wait for tasks of one database."""
    nobody, tries_left = False, OWNERS_MAX
    while left := [uid for uid, task in found.items() if task.shown()["state"] not in ENDS]:
        if nobody:
            state = found[left[0]].shown()["state"]
            raise StoppedError(
                f"task {uuid_text(left[0])} is {state}, and no scheduler takes care of {shown(location)}: "
                f"hs-cluster --restart --database {shown(location)} runs what is left there"
            )
        client = client_of(location, patient=True)
        # What is left may have ended while we looked, and its cluster with it: so it is looked at once more.
        nobody = client is None
        if client is not None:
            tries_left -= 1
            if _told(client, left[:WAIT_IDS_MAX], until, last=not tries_left):
                tries_left = OWNERS_MAX
        found = found | last_attempts(left, location)
    return found


def _told(client: Client, uids: Sequence[bytes], until: float, *, last: bool) -> bool:
    """Ask the scheduler to tell when they have ended; return whether it did, or was gone before.

    Raises:
        NobodyError: It was gone, and this was the last try.

    """
    try:
        client.ask("wait", pack_ids(uids), until=until)
    except NobodyError:
        if last:
            raise
        return False
    finally:
        client.close()
    return True


def last_attempts(uids: Sequence[bytes], asked: str | None) -> dict[bytes, Found]:
    """Return the newest attempt of each task; asked: the only database to look at, or None.

    Raises:
        StoppedError: There is no such task.

    """
    with closing(Finder(asked)) as finder:
        found = finder.find_all(uids)
        while following := {uid: next_id for uid, task in found.items() if (next_id := task.shown()["next_id"])}:
            for location in {found[uid].database for uid in following}:
                later = {uid: uid_of(text) for uid, text in following.items() if found[uid].database == location}
                attempts = finder.find_all(list(later.values()), location)
                found |= {uid: attempts[attempt] for uid, attempt in later.items()}
    return found


def returned(task: dict[str, Any]) -> int:
    """Return the status with which a command ends that returns what a task returned."""
    status: int | None = task["exit_status"]
    if status is None:
        return NO_STATUS
    return status if status >= 0 else SIGNALLED - status
