"""Where a task stands, as numbers of a database, and the SQL that says which tasks failed, are out, or stand aside."""

from enum import IntEnum


class State(IntEnum):
    """Of a row. The numbers are in databases: never change one."""

    ON_HOLD = -1
    """As NEW, but not to be dispatched until the user says so. Below NEW, for it is among those that have not ended."""
    NEW = 0
    ASSIGNED = 1
    RUNNING = 2
    DONE = 3
    CANCELLED = 4
    QUARANTINED = 5
    REJECTED = 6


FAILED = f"""(task.state IN ({State.QUARANTINED:d}, {State.REJECTED:d})
OR task.state = {State.DONE:d} AND (coalesce(task.exit_status, 1) <> 0 OR task.reason IS NOT NULL))"""
"""COMMANDS section 1, Output and end."""

OUT = f"task.state IN ({State.ASSIGNED:d}, {State.RUNNING:d})"
"""Handed out. As `FAILED`, this and the next are the conditions of partial indexes, word for word."""

ASIDE = f"task.state IN ({State.ON_HOLD:d}, {State.CANCELLED:d})"
"""Out of the ordinary course, by the user's word."""
