"""`hs task search`: which tasks, which of their fields, in which order and form."""

from itertools import islice
from typing import Any

from hs_common import limits
from hs_common.errors import RefusedError
from hs_scheduler.commands.location import to_read
from hs_scheduler.commands.looking import asking, number_of
from hs_scheduler.commands.printing import print_texts
from hs_scheduler.search.questions import Question
from hs_scheduler.tasks.conditions import field_named
from hs_scheduler.tasks.fields import BY_NAME
from hs_scheduler.tasks.filters import filter_of


def search_tasks(asked: dict[str, Any]) -> None:
    """Print the tasks, their number, or the kinds of failures among them.

    Args:
        asked: What was typed, by the names of the parameters.

    Raises:
        RefusedError: It makes no sense.
        StoppedError: The database cannot be read.

    """
    if asked["limit"]:  # No database has as many rows; more is no number of SQL.
        asked = asked | {"limit": min(asked["limit"], limits.ID_MAX)}
    if asked["triage"]:
        _triage(asked)
        return
    question = Question(
        filter=filter_of(asked),
        fields=tuple(map(field_named, asked["fields"])),
        order_by=None if asked["order_by"] is None else field_named(asked["order_by"]),
        descending=asked["desc"],
        limit=asked["limit"],
    )
    location = to_read(asked["database"])
    if asked["count"]:
        print_texts([f"{number_of(location, question)}\n"])
    else:
        _list(location, question, asked["style"] or "normal")


def _list(location: str, question: Question, style: str) -> None:
    from hs_common.values import replace  # noqa: PLC0415 - a count needs none of it
    from hs_scheduler.search import formats  # noqa: PLC0415

    if not question.fields:
        names = formats.TABLE_FIELDS if style in ("table", "plain") else BY_NAME
        question = replace(question, fields=tuple(BY_NAME[name] for name in names))
    with asking(location, question) as rows:
        print_texts(formats.FORMATS[style](question.fields, rows))


def _triage(asked: dict[str, Any]) -> None:
    for name, option in (("fields", "FIELD"), ("order_by", "-s"), ("desc", "--desc"), ("count", "-c")):
        if asked[name]:
            raise RefusedError(f"--triage shows kinds of failures, the most frequent first: it excludes {option}")
    if asked["ended"] not in (None, "failed"):
        raise RefusedError("--triage is about what failed: it excludes -S, -C and -R")
    from hs_scheduler.search import formats, triage  # noqa: PLC0415 - as above
    from hs_scheduler.search.captured import end_of  # noqa: PLC0415

    fields = tuple(BY_NAME[name] for name in ("id", "args", "exit_status", "reason", "worker_host", "errpath"))
    failed = filter_of(asked | {"ended": "failed"})
    found = triage.Triage()
    with asking(to_read(asked["database"]), Question(filter=failed, fields=fields)) as rows:
        for *known, errpath in rows:
            end = end_of(errpath)
            found.add(triage.Failure._make((*known, None if end is None else triage.last_line(end))))
    kinds = islice(found.rows(), asked["limit"])
    print_texts(formats.FORMATS[asked["style"] or "table"](triage.FIELDS, kinds))
