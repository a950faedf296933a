"""What `hs doctor` looks at, from the host on which it runs: run it on both ends.

this host    program · file limits · site, its file system and its space · clock of the connection file
the way      connection file ─▶ each address: name ─▶ port ─▶ keys
the far end  scheduler: version, clock, workers, database
"""

import os
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hs_common import __version__, limits, site
from hs_common.clock import monotonic, wall
from hs_common.errors import HSError, RefusedError
from hs_common.filesystems import network_name
from hs_common.security import Connection, read_connection
from hs_common.values import replace

PORT_S = 3.0
"""For a port to answer, and for the keys to be taken."""
CLOCK_MAX_S = 5.0
"""Clocks may differ by so much. Only what people read depends on them."""
DESCRIPTORS_MIN = 1024
SPACE_MIN = 100 * limits.MIB


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    fix: str = ""
    """What to do; "": nothing."""


def examine(named: str, role: str) -> Iterator[Finding]:
    """Look at everything, from here to the scheduler; yield what is found.

    Args:
        named: Connection file, or name of a cluster.
        role: Whose connection file, where it is a name.

    """
    yield Finding("version", ok=True, found=__version__)
    yield _limit()
    yield from _site()
    path = named
    try:
        path = site.connection_file(named, role)
        if path != named and not os.path.exists(path):
            raise RefusedError(site.unknown_cluster(named, role))
        connection = read_connection(path)
    except RefusedError as exc:
        fix = f"start hs-broker --name {named}" if "/" not in named else "copy it from the host of the broker again"
        yield Finding("connection", ok=False, found=str(exc), fix=f"{fix}; it must be yours alone (chmod 600)")
        return
    found = f"{path}: {connection.role}, made on {connection.host}"
    yield Finding("connection", ok=True, found=found)
    reached = False
    for endpoint in connection.endpoints:
        findings = list(_endpoint(connection, endpoint))
        reached = reached or all(finding.ok for finding in findings)
        yield from findings
    if not reached:
        fix = f"is hs-broker running on {connection.host}? Its log says on which port; a firewall must let it through"
        yield Finding("broker", ok=False, found="reached by none of its addresses", fix=fix)
    elif connection.role in ("control", "submit"):
        yield from _scheduler(connection)


def _limit() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard >= DESCRIPTORS_MIN or hard == resource.RLIM_INFINITY
    way = (
        f"ulimit -n {DESCRIPTORS_MIN}" if allowed else f"have the hard limit raised to {DESCRIPTORS_MIN} (limits.conf)"
    )
    fix = "" if soft >= DESCRIPTORS_MIN or soft == resource.RLIM_INFINITY else f"{way}, before the daemons are started"
    return Finding("open files", ok=not fix, found=f"{soft}, at most {hard}", fix=fix)


def _site() -> Iterator[Finding]:
    try:
        path = site.site()
    except RefusedError as exc:
        yield Finding("site", ok=False, found=str(exc), fix="set HYPERSHELL_SITE to a folder of your own")
        return
    shared = network_name(path)
    yield Finding("site", ok=True, found=f"{path}, on {shared or 'a local disk: other hosts have another one'}")
    free = os.statvfs(path)
    size = free.f_bavail * free.f_frsize
    fix = "" if size >= SPACE_MIN else "make room, or set HYPERSHELL_SITE to another disk"
    yield Finding("space", ok=not fix, found=f"{size // limits.MIB} MiB free in the site", fix=fix)


def _endpoint(connection: Connection, endpoint: str) -> Iterator[Finding]:
    """Look at one address: its name, its port, the keys; the first that fails ends it."""
    if endpoint.startswith("ipc://"):
        there = os.path.exists(endpoint.removeprefix("ipc://"))
        fix = "" if there else "it is for the host of the broker alone"
        yield Finding("socket", ok=there, found=endpoint, fix=fix)
        if not there:
            return
    else:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        try:
            address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0][4]
        except OSError as exc:
            yield Finding(
                "name",
                ok=False,
                found=f"{host}: {exc.strerror}",
                fix="let the broker --bind an address that all hosts know",
            )
            return
        yield Finding("name", ok=True, found=f"{host} is {address[0]}")
        try:
            socket.create_connection((str(address[0]), int(port)), PORT_S).close()
        except OSError as exc:
            why = exc.strerror or f"no answer in {PORT_S:g} s"
            yield Finding(
                "port",
                ok=False,
                found=f"{endpoint}: {why}",
                fix="is the broker there, and does a firewall let it through?",
            )
            return
        yield Finding("port", ok=True, found=f"{endpoint} answers")
    yield _keys(replace(connection, endpoints=(endpoint,)), endpoint)


def _keys(connection: Connection, endpoint: str) -> Finding:
    """Try the handshake with our key and that of the broker."""
    import zmq  # noqa: PLC0415 - nothing before this needs it

    from hs_common.sockets import Link, new_context  # noqa: PLC0415

    link = Link(new_context(), connection)
    poller = zmq.Poller()
    for source in link.sockets:
        poller.register(source, zmq.POLLIN)
    until = monotonic() + PORT_S
    happened: list[str] = []
    try:
        while not {"connected", "denied"} & set(happened) and (left_s := until - monotonic()) > 0:
            poller.poll(int(left_s * 1000) + 1)
            happened += link.events()
    finally:
        link.close()
    if "connected" in happened:
        return Finding("keys", ok=True, found=f"{endpoint} knows this key")
    found = (
        "this key is not known there"
        if "denied" in happened
        else f"no handshake in {PORT_S:g} s: another program has that port"
    )
    return Finding(
        "keys", ok=False, found=f"{endpoint}: {found}", fix="copy the connection file from the host of the broker again"
    )


def _scheduler(connection: Connection) -> Iterator[Finding]:
    """Ask the far end about itself."""
    import json  # noqa: PLC0415

    from hs_common.client import Client  # noqa: PLC0415

    client = Client(connection, patience_s=PORT_S)
    asked_at = wall()
    try:
        status: dict[str, Any] = json.loads(client.ask("status", until=monotonic() + 2 * PORT_S))
    except HSError as exc:
        yield Finding("scheduler", ok=False, found=str(exc), fix="start hs-scheduler --forever --connection NAME")
        return
    finally:
        client.close()
    yield Finding(
        "scheduler", ok=True, found=f"on {status['host']}, pid {status['pid']}; {len(status['workers'])} workers"
    )
    same = status["version"] == __version__
    fix = "" if same else "install the same version on both hosts"
    yield Finding("same version", ok=same, found=f"{status['version']} there, {__version__} here", fix=fix)
    away_s = status["time"] - asked_at
    fix = (
        ""
        if abs(away_s) <= CLOCK_MAX_S
        else "let both hosts follow a time server; times in the database are of their own hosts"
    )
    yield Finding("clock", ok=not fix, found=f"{away_s:+.1f} s from here to {status['host']}", fix=fix)
    if (database := status["database"]) and "://" not in database and status["host"] != os.uname().nodename:
        there = os.path.exists(database)
        fix = "" if there else f"run task commands on {status['host']}, or keep the database on a shared disk"
        yield Finding("shared path", ok=there, found=database, fix=fix)


def report(findings: Iterator[Finding], say: Callable[[Finding], None]) -> int:
    """Tell each finding as it is found; return the exit status: 1 where something that matters is wrong.

    An address that fails matters only when none is left: a host of several networks has some that this one cannot reach.
    """
    status = 0
    for finding in findings:
        say(finding)
        if not finding.ok and finding.what not in ("name", "port", "socket", "keys"):
            status = 1
    return status


def line(finding: Finding) -> str:
    """Return a finding as people read it."""
    text = f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:<12}  {finding.found}"
    return text if finding.ok or not finding.fix else f"{text}\n      {'':<12}  fix: {finding.fix}"
