"""Who answers questions about a database: the file itself, or its scheduler where that has the file to itself.

on a local disk, on a server, owned by nobody ──▶ `questions`
on a network file system, owned by a scheduler ──▶ `paging`; archives nobody writes: they are read here

What is printed is the same either way, for values come raw.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from hs_common.filesystems import network_name
from hs_scheduler.search import questions
from hs_scheduler.search.questions import Question, Row
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.locations import is_url
from hs_scheduler.tasks.filters import Filter

if TYPE_CHECKING:
    from hs_scheduler.commands.paging import Scheduler
    from hs_scheduler.stores.changes import Span


@contextmanager
def asking(location: str, question: Question) -> Iterator[Iterator[Row]]:
    """Give the raw values of the fields of each task, as they are found; see `questions.asking`."""
    with ExitStack() as stack:
        scheduler = scheduler_of(location)
        if scheduler is None:
            yield stack.enter_context(questions.asking(location, question))
            return
        stack.callback(scheduler.close)
        rows = scheduler.placed(question)
        older = [stack.enter_context(open_reader(path)) for path in scheduler.archives()]
        streams = [stack.enter_context(questions.placed(reader, question)) for reader in older]
        yield questions.in_order([*streams, rows], question)


def number_of(location: str, question: Question) -> int:
    """Return how many tasks there are; see `questions.number_of`."""
    scheduler = scheduler_of(location)
    if scheduler is None:
        return questions.number_of(location, question)
    with closing(scheduler):
        count = sum(span.tasks for span in scheduler.spans(question.filter)) + _in_archives(scheduler, question)
    return min(count, question.limit or count)


def spans(location: str, tasks: Filter) -> "list[Span]":
    """Return where such tasks are; see `questions.spans`."""
    scheduler = scheduler_of(location)
    if scheduler is None:
        return questions.spans(location, tasks)
    with closing(scheduler):
        return list(scheduler.spans(tasks))


def archived(location: str, tasks: Filter) -> int:
    """Return how many such tasks are in archives; see `questions.archived`."""
    scheduler = scheduler_of(location)
    if scheduler is None:
        return questions.archived(location, tasks)
    with closing(scheduler):
        return _in_archives(scheduler, Question(filter=tasks, fields=()))


def _in_archives(scheduler: "Scheduler", question: Question) -> int:
    count = 0
    for path in scheduler.archives():
        with open_reader(path) as reader:
            count += questions.counted(reader, question)
    return count


def scheduler_of(location: str) -> "Scheduler | None":
    """Return the scheduler that has to be asked about this database; None: it can be read.

    Raises:
        StoppedError: It is owned by a process that cannot be asked, or not from here.

    """
    if (
        is_url(location)
        or not os.path.isfile(location)
        or not network_name(os.path.dirname(os.path.realpath(location)))
    ):
        return None
    from hs_scheduler.commands.live import client_of  # noqa: PLC0415 - most databases can be read, and that need not load it
    from hs_scheduler.commands.paging import Scheduler  # noqa: PLC0415

    client = client_of(location)
    return None if client is None else Scheduler(location, client)
