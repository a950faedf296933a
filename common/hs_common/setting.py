"""One setting: what it is called, and what it may be. `config` says which place wins."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError

Value = bool | int | float | str | list[Any] | dict[str, Any] | None


class Key(NamedTuple):
    """One setting."""

    name: str
    """section.key, or key alone."""
    kind: str
    """flag, integer, number, size (bytes, or 512K, 10M), text, path (`~` is the home), hosts (text, list, table of either)."""
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    applies: str = ""
    """Where it is used; "": everywhere. Elsewhere it is passed over."""


_JOINED = "to a cluster that others may join (-H, -p), and to hs-broker by itself"
_RECORDED = "without --no-db"
_SSH = "with --ssh"
_SCALED = "with -A"
_LOGGED = "where logging.file is set"

KEYS = {
    key.name: key
    for key in (
        Key("worker.num_tasks", "integer", 1, "tasks at a time of one worker; 0: all cores", 0, limits.SLOTS_MAX),
        Key("worker.template", "text", "{}", "what is run for the args of a task"),
        Key("worker.shell", "text", "/bin/sh", "for lines that need one"),
        Key(
            "worker.delay_start",
            "number",
            0.0,
            "seconds to wait before connecting; negative: random up to",
            -86400,
            86400,
        ),
        Key(
            "worker.timeout", "number", 0.0, "seconds without work until a worker leaves; 0: never", 0, 1e9, (), _SCALED
        ),
        Key("worker.task_timeout", "number", 0.0, "wall time limit of a task, seconds; 0: none", 0, 1e9),
        Key("worker.lease", "number", limits.LEASE_S, "seconds of silence until a worker has lost its bundles", 1, 1e9),
        Key(
            "worker.grace",
            "number",
            None,
            "seconds that running tasks get after SIGTERM; unset: judged by place",
            0,
            1e9,
        ),
        Key(
            "worker.margin",
            "number",
            limits.MARGIN_S,
            "seconds before its end in which a worker takes no task without limit",
            0,
            1e9,
            (),
            "to workers that have an end, and to the broker that they come to",
        ),
        Key("broker.port", "integer", 50001, "TCP port of a cluster that is not only local", 1, 65535, (), _JOINED),
        Key("broker.bind", "text", "", "address to listen on; empty: all interfaces", applies=_JOINED),
        Key("scheduler.bundlesize", "integer", 1, "tasks leased to one worker as a unit", 1, limits.BUNDLE_TASKS_MAX),
        Key("scheduler.bundlewait", "number", 5.0, "seconds to hold back a part-filled bundle at most", 0, 86400),
        Key("scheduler.max_retries", "integer", 0, "more attempts for a task that failed", 0, 1_000),
        Key("scheduler.eager", "flag", default=False, help="retries go first"),
        Key("database.file", "path", "", "SQLite file instead of the run's own", applies=_RECORDED),
        Key("database.url", "text", "", "database server instead of the run's own", applies=_RECORDED),
        Key("launcher", "text", "", "program and arguments that start workers"),
        Key("ssh.nodelist", "hosts", "", "hosts of --ssh", applies=_SSH),
        Key("ssh.args", "text", "", "arguments as for ssh", applies=_SSH),
        Key("ssh.client", "text", "fabric", "who logs in", choices=("fabric", "openssh"), applies=_SSH),
        Key("autoscale.policy", "text", "fixed", "how -A decides", choices=("fixed", "dynamic"), applies=_SCALED),
        Key("autoscale.factor", "number", 1.0, "of the average duration, in the pressure", 1e-6, 1e6, applies=_SCALED),
        Key("autoscale.period", "number", 60.0, "seconds between two decisions", 0.1, 86400, applies=_SCALED),
        Key("autoscale.init_size", "integer", 1, "workers at the start", 0, limits.WORKERS_MAX, applies=_SCALED),
        Key("autoscale.min_size", "integer", 0, "workers at least", 0, limits.WORKERS_MAX, applies=_SCALED),
        Key("autoscale.max_size", "integer", 2, "workers at most", 0, limits.WORKERS_MAX, applies=_SCALED),
        Key("logging.level", "text", "warning", "what is logged", choices=("debug", "info", "warning", "error")),
        Key("logging.format", "text", "console", "how it is logged", choices=("console", "json")),
        Key("logging.file", "path", "", "where to, instead of stderr"),
        Key("logging.file_size", "size", 10 * limits.MIB, "when a log file is set aside", 4096, 1 << 40, (), _LOGGED),
        Key("logging.file_count", "integer", 5, "log files that were set aside and are kept", 1, 1000, (), _LOGGED),
    )
}
"""Every setting there is."""


AN_ADDRESS = "an address of this host; -p alone listens on all interfaces"
"""What -H expects."""

A_DATABASE = "the path of a SQLite file, or a postgresql:// URL"
"""What --database expects."""

MEMORY = Key("memory", "size", 0, "bytes that running tasks may ask for", 1, limits.ID_MAX)
"""Of --memory of a worker; an option alone, no setting."""


def parse(key: Key, value: object, place: str) -> Value:
    """Return a value as the setting has it; text is taken as it is typed in a variable.

    Raises:
        RefusedError: Another kind, or out of bounds. Place and key are named.

    """
    return _parse(key, value, f"{place}: {key.name} =")


def parse_option(key: Key, text: object, option: str) -> Value:
    """Return what was typed for an option, which is bounded as the setting is.

    Raises:
        RefusedError: Another kind, or out of bounds. The option is named: who typed it need not know of a setting.

    """
    return _parse(key, text, option)


def require_text(option: str, text: str | None, expected: str) -> None:
    """Refuse a blank value, as of a variable that is not set: it is no wish for what holds without the option.

    Raises:
        RefusedError: It names nothing.

    """
    if text is not None and not text.strip():
        raise RefusedError(f"{option} {text!r}: expected {expected}")


def size(key: Key, text: str | None, option: str) -> int:
    """Return the bytes that an option means; None: the default.

    Raises:
        RefusedError: It is no size, or out of bounds.

    """
    value = key.default if text is None else parse_option(key, text, option)
    assert isinstance(value, int)
    return value


def _parse(key: Key, value: object, what: str) -> Value:
    try:
        result = _PARSERS[key.kind](value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise RefusedError(f"{what} {value!r:.80} is not {_CALLED.get(key.kind, f'a {key.kind}')}") from exc
    if isinstance(result, int | float) and not isinstance(result, bool) and not key.low <= result <= key.high:
        bounds = f"in {key.low:.10g}..{key.high:.10g}" if key.high < limits.ID_MAX else f"{key.low:.10g} or more"
        raise RefusedError(f"{what} {value!r:.80} is not {bounds}")
    if key.choices and result not in key.choices:
        raise RefusedError(f"{what} {value!r:.80} is none of {', '.join(key.choices)}")
    return result


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = _text(value).lower()
    if word not in _FLAG_WORDS:
        raise ValueError(value)
    return _FLAG_WORDS[word]


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    number = float(value)
    if math.isnan(number):
        raise ValueError(value)
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    if isinstance(value, int):
        return value
    word = value.strip().upper().removesuffix("B").removesuffix("I")
    factor = _SIZE_FACTORS.get(word[-1:], 1)
    return int(float(word[:-1] if factor > 1 else word) * factor)


def _path(value: object) -> str:
    return os.path.expanduser(_text(value))


def _hosts(value: object) -> str | list[str] | dict[str, Any]:
    if isinstance(value, dict):
        return {name: _host_list(hosts) for name, hosts in value.items()}
    return _host_list(value)


def _host_list(value: object) -> str | list[str]:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_text(host) for host in value]
    raise TypeError(value)


_CALLED = {
    "integer": "an integer",
    "size": "a size such as 512K or 10M",
    "hosts": "text, a list of hosts, or a table of such",
}
_SIZE_FACTORS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FLAG_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
    "": False,
}
_PARSERS: dict[str, Callable[[object], Value]] = {
    "flag": _flag,
    "integer": _integer,
    "number": _number,
    "size": _size,
    "text": _text,
    "path": _path,
    "hosts": _hosts,
}
