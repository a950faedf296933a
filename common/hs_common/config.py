"""Settings: what they are called, what they may be, and which place wins.

    option > HYPERSHELL_SECTION_KEY > ./.hypershell/config.toml > ~/.hypershell/config.toml > /etc/hypershell.toml > default

Options are the callers' business. A value that makes no sense is refused with its key and its place; an unknown name is only a
warning, for it may belong to a newer version.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError

Value = bool | int | float | str | list[Any] | dict[str, Any] | None

PREFIX = "HYPERSHELL_"
OTHER_NAMES = frozenset({"HYPERSHELL_SITE", "HYPERSHELL_CRASH_AT", "HYPERSHELL_WORKER_EXECUTOR"})
"""Variables that are ours and no settings: where things are kept, fault tests, benchmarks."""


class Key(NamedTuple):
    """One setting."""

    name: str
    """section.key, or key alone."""
    kind: str
    """flag, integer, number, text, or hosts (text, list or table)."""
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()


KEYS = {
    key.name: key
    for key in (
        Key("worker.num_tasks", "integer", 1, "executors per worker; 0: all cores", 0, limits.SLOTS_MAX),
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
        Key("worker.timeout", "number", 0.0, "seconds without work until a worker leaves; 0: never", 0, 1e9),
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
            60.0,
            "seconds before its end in which a worker takes no task without limit",
            0,
            1e9,
        ),
        Key("broker.port", "integer", 50001, "TCP port of a cluster that is not only local", 1, 65535),
        Key("broker.bind", "text", "", "address to listen on; empty: all interfaces"),
        Key("scheduler.bundlesize", "integer", 1, "tasks leased to one worker as a unit", 1, limits.BUNDLE_TASKS_MAX),
        Key("scheduler.bundlewait", "number", 5.0, "seconds to hold back a part-filled bundle at most", 0, 86400),
        Key("scheduler.max_retries", "integer", 0, "more attempts for a task that failed", 0, 1_000_000),
        Key("scheduler.eager", "flag", default=False, help="retries go first"),
        Key("database.file", "text", "", "SQLite file instead of the run's own"),
        Key("database.url", "text", "", "database server instead of the run's own"),
        Key("launcher", "text", "", "program and arguments that start workers"),
        Key("ssh.nodelist", "hosts", "", "hosts of --ssh"),
        Key("ssh.args", "text", "", "arguments as for ssh"),
        Key("ssh.client", "text", "paramiko", "who logs in", choices=("paramiko", "openssh")),
        Key("autoscale.policy", "text", "fixed", "how -A decides", choices=("fixed", "dynamic")),
        Key("autoscale.factor", "number", 1.0, "of the average duration, in the pressure", 1e-6, 1e6),
        Key("autoscale.period", "number", 60.0, "seconds between two decisions", 0.1, 86400),
        Key("autoscale.init_size", "integer", 1, "workers at the start", 0, limits.WORKERS_MAX),
        Key("autoscale.min_size", "integer", 0, "workers at least", 0, limits.WORKERS_MAX),
        Key("autoscale.max_size", "integer", 2, "workers at most", 0, limits.WORKERS_MAX),
        Key("logging.level", "text", "warning", "what is logged", choices=("debug", "info", "warning", "error")),
        Key("logging.format", "text", "console", "how it is logged", choices=("console", "json")),
        Key("logging.file", "text", "", "where to, instead of stderr"),
    )
}
"""Every setting there is."""

_VARIABLE_OF = {PREFIX + name.replace(".", "_").upper(): name for name in KEYS}
_SECTIONS = frozenset(name.split(".")[0] for name in KEYS if "." in name)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. Made by `load_settings`."""

    _found: Mapping[str, tuple[Value, str]]
    warnings: tuple[str, ...]
    """One sentence for each unknown name; the caller logs them."""

    def get(self, key: str) -> Any:  # noqa: ANN401 - of the kind that KEYS says
        """Return the value: of the highest place that has one, else the default."""
        return self._found[key][0] if key in self._found else KEYS[key].default

    def origin(self, key: str) -> str:
        """Return where the value comes from: a variable, a file, or "default"."""
        if key not in KEYS:
            raise KeyError(key)
        return self._found[key][1] if key in self._found else "default"


def load_settings(
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
    system: str = "/etc/hypershell.toml",
) -> Settings:
    """Read all places.

    Raises:
        RefusedError: A value is of the wrong kind or out of bounds, or a file cannot be read.

    """
    environ = os.environ if environ is None else environ
    home = environ.get("HOME") or os.path.expanduser("~")
    files = [system, os.path.join(home, ".hypershell", "config.toml")]
    local = os.path.join(cwd or _cwd(), ".hypershell", "config.toml")
    if local not in files:
        files.append(local)
    found: dict[str, tuple[Value, str]] = {}
    warnings: list[str] = []
    for path in files:
        _read_file(path, found, warnings)
    _read_environment(environ, found, warnings)
    return Settings(found, tuple(warnings))


def parse(key: Key, value: object, place: str) -> Value:
    """Return a value as the setting has it; text is taken as it is typed in a variable.

    Raises:
        RefusedError: Another kind, or out of bounds.

    """
    try:
        result = _PARSERS[key.kind](value)
    except (ValueError, TypeError, OverflowError) as exc:
        article = "an" if key.kind == "integer" else "a"
        raise RefusedError(f"{place}: {key.name} = {value!r:.80} is not {article} {key.kind}") from exc
    if isinstance(result, int | float) and not isinstance(result, bool) and not key.low <= result <= key.high:
        raise RefusedError(f"{place}: {key.name} = {value!r:.80} is not in {key.low:.10g}..{key.high:.10g}")
    if key.choices and result not in key.choices:
        raise RefusedError(f"{place}: {key.name} = {value!r:.80} is none of {', '.join(key.choices)}")
    return result


def _read_file(path: str, found: dict[str, tuple[Value, str]], warnings: list[str]) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    import tomllib  # noqa: PLC0415 - 12 ms, and most have no file

    try:
        document = tomllib.loads(content.decode())
    except ValueError as exc:
        raise RefusedError(f"{path}: {exc}") from exc
    for section, value in document.items():
        if section in _SECTIONS and isinstance(value, dict):
            pairs = [(f"{section}.{name}", item) for name, item in value.items()]
        else:
            pairs = [(section, value)]
        for name, item in pairs:
            if name in KEYS:
                found[name] = parse(KEYS[name], item, path), path
            else:
                warnings.append(f"{path}: unknown setting {name}")


def _read_environment(environ: Mapping[str, str], found: dict[str, tuple[Value, str]], warnings: list[str]) -> None:
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_NAMES:
            continue
        name = _VARIABLE_OF.get(variable)
        if name is None:
            warnings.append(f"environment: unknown setting {variable}")
        else:
            found[name] = parse(KEYS[name], value, variable), variable


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"  # the folder was removed under us: then it has no settings either


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


def _hosts(value: object) -> str | list[Any] | dict[str, Any]:
    if not isinstance(value, str | list | dict):
        raise TypeError(value)
    return value


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
    "text": _text,
    "hosts": _hosts,
}
