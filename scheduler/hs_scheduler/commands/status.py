"""`hs status`: what a running cluster does; and `hs worker list`, `drain`, `stop`: its workers."""

import json
import select
import sys
from typing import TYPE_CHECKING, Any

import click

from hs_common.command_line import SETTINGS
from hs_common.errors import RefusedError, StoppedError
from hs_common.setting import require_text
from hs_scheduler.commands.printing import print_texts

if TYPE_CHECKING:
    from hs_common.client import Client

WATCH_MS = 1_000
"""Between two looks of --watch."""

ID_CHARS_MIN, ID_CHARS = 8, 36
"""Of a worker's id, where people read it; any part from its start that is its alone names it."""

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def _where(function: Any) -> Any:  # noqa: ANN401 - as click has it
    for option in (
        click.option("--connection", metavar="FILE|NAME", help="Of this cluster, by its control connection."),
        click.option(
            "--database", metavar="PATH|URL",
            help="Of the cluster that owns this one.  [the standing queue, else the one used last]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; with --watch one a line.")
@click.option("--watch", is_flag=True, help="Look again every second.")
@_where
def status(**asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Show workers, slots, what is queued and running, how fast it goes and when it will be done. Status 3: no cluster."""
    client = _client(asked)
    try:
        while True:
            answer = json.loads(client.ask("status"))
            if asked["as_json"]:
                print_texts([json.dumps(answer) + "\n"])
            else:
                clear = _HOME_AND_CLEAR if asked["watch"] and sys.stdout.isatty() else ""
                print_texts([clear, *_lines(answer)])
            if not asked["watch"]:
                return
            select.poll().poll(WATCH_MS)
    finally:
        client.close()


@click.command("list", context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@_where
def workers(**asked: Any) -> None:  # noqa: ANN401
    """Show the workers of a running cluster: id, host, slots, and tasks that each has in hand."""
    client = _client(asked)
    try:
        found = json.loads(client.ask("status"))["workers"]
    finally:
        client.close()
    if asked["as_json"]:
        print_texts([json.dumps(found) + "\n"])
        return
    print_texts(_table(found))


@click.command(context_settings=SETTINGS)
@click.argument("worker", metavar="ID")
@_where
def drain(worker: str, **asked: Any) -> None:  # noqa: ANN401
    """Let a worker finish what it runs, take nothing new, and leave."""
    _send_away(worker, asked, now=False)


@click.command(context_settings=SETTINGS)
@click.argument("worker", metavar="ID")
@_where
def stop(worker: str, **asked: Any) -> None:  # noqa: ANN401
    """Stop what a worker runs, and have it leave; its tasks run again elsewhere."""
    _send_away(worker, asked, now=True)


def _send_away(worker: str, asked: dict[str, Any], *, now: bool) -> None:
    # Every id begins with nothing: that of a variable which is not set would be the only worker's.
    require_text("ID", _digits(worker), "the id of a worker, or its start, as hs worker list shows it")
    client = _client(asked)
    try:
        known = json.loads(client.ask("status"))["workers"]
        found = [one for one in known if _digits(one["id"]).startswith(_digits(worker.lower()))]
        if not found:
            raise StoppedError(f"there is no worker {worker}: hs worker list shows {len(known)}")
        if len(found) > 1:
            raise RefusedError(
                f"{worker} is the start of {len(found)} ids: give more of it, as hs worker list shows it"
            )
        client.drain(bytes.fromhex(_digits(found[0]["id"])), now=now)
    finally:
        client.close()
    digits = _digits_shown([one["id"] for one in known])
    click.echo(f"worker {found[0]['id'][:digits]} on {found[0]['host']} {'stops' if now else 'drains'}")


def _digits(text: str) -> str:
    """Return an id, or its start, as it is compared: with hyphens or without."""
    return text.replace("-", "")


def _client(asked: dict[str, Any]) -> "Client":
    """Return a client of the cluster that is meant.

    Raises:
        StoppedError: None is running.

    """
    from hs_scheduler.commands.live import client_by, client_here  # noqa: PLC0415 - --help needs none of it

    if asked["connection"] is not None:
        if asked["database"] is not None:
            raise RefusedError("--connection and --database exclude each other")
        return client_by(asked["connection"])
    return client_here(asked["database"])


def _lines(answer: dict[str, Any]) -> list[str]:
    """Return the lines of an answer for people."""
    hosts = len({worker["host"] for worker in answer["workers"]})
    left = answer["queued"] or answer["running"] or answer["reading"]
    eta = "unknown" if answer["eta_s"] is None else _duration(answer["eta_s"])
    done = f"done in {eta}" if left else "nothing to do"
    about = [
        (
            "scheduler",
            f"{answer['host']}, pid {answer['pid']}, {answer['version']}{', draining' if answer['draining'] else ''}",
        ),
        ("database", answer["database"] or "none"),
        ("workers", f"{len(answer['workers'])} on {hosts} host{'' if hosts == 1 else 's'}, {answer['slots']} slots"),
        ("queued", f"{answer['queued']}{' (and more to be read)' if answer['reading'] else ''}"),
        ("running", str(answer["running"])),
        ("ended", f"{answer['succeeded']} succeeded, {answer['failed']} failed, {answer['cancelled']} cancelled"),
        ("rate", f"{answer['rate']:.1f} tasks/s, {done}"),
    ]
    if scaling := answer["autoscaling"]:
        pressure = "unknown" if scaling["pressure"] is None else f"{scaling['pressure']:.2f}"
        about.append(("scaling", f"{scaling['units']} launched, pressure {pressure}: {scaling['reason']}"))
    if answer.get("fits_nobody"):  # a scheduler that was started before an upgrade does not say it
        about.append(
            ("too large", f"{answer['fits_nobody']} of what is queued: no worker has the cores, memory or time")
        )
    if answer.get("on_hold"):
        about.append(("on hold", f"{answer['on_hold']}: hs task update --release lets them go"))
    if answer["held_by_group"] is not None:
        about.append(("held", f"by tasks of group {answer['held_by_group']} that failed or are on hold"))
    return [f"{name:>9}  {value}\n" for name, value in about]


def _table(workers: list[dict[str, Any]]) -> list[str]:
    width = max([4, *(len(worker["host"]) for worker in workers)])
    digits = _digits_shown([worker["id"] for worker in workers])
    lines = [f"{'ID':{digits}}  {'HOST':{width}}  {'SLOTS':>5}  {'TASKS':>5}\n"]
    return lines + [
        f"{worker['id'][:digits]}  {worker['host']:{width}}  {worker['slots']:>5}  {worker['tasks']:>5}\n"
        for worker in workers
    ]


def _digits_shown(ids: list[str]) -> int:
    """Return how much of each id tells it from all others: those of one launcher begin alike."""
    return next(count for count in range(ID_CHARS_MIN, ID_CHARS + 1) if len({text[:count] for text in ids}) == len(ids))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
