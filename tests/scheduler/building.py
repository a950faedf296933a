"""Databases for tests of commands."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from hs_common.tasks import Detail, Outcome
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask, Retry

T0 = 1_700_000_000.0
WORKER = b"w" * 16


def a_line(args: bytes = b"true", *, group: int = 0, **tags: Any) -> NewTask:
    """Return a task with these tags."""
    return NewTask(args, Detail(0.0, 0, 0, tuple(tags.items()), b"") if tags else None, group, 0, "")


def a_database(
    path: Path, *statuses: int | None, host: str = "n1", retries: int = 0, folder: Path | None = None
) -> str:
    """Make a database of tasks with these exit statuses, `n` from 0; None: it waits. `folder`: where their outputs are."""
    store = SqliteStore(str(path))
    with store.transaction():
        for number, status in enumerate(statuses):
            line = a_line(b"exit %d" % (status or 0), n=number)
            (task,) = store.add([line], [0 if status is None else 1], b"/work", T0 + number)
            if status is not None:
                out, err = (str(folder / f"{number}{end}").encode() if folder else b"" for end in (".out", ".err"))
                ended = Outcome(task.row, 1, 0, status << 8, "", T0 + number, 0.5, 0.0, 0.0, 0, b"", out, err)
                store.record(WORKER, host, [ended], Retry(retries, eager=False), T0 + number)
    store.close()
    return str(path)


def run(command: Any, *options: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(command, options)


def output(command: Any, *options: str) -> str:
    """Return what a command prints."""
    result = run(command, *options)
    assert result.exception is None, result.exception
    return str(result.stdout)
