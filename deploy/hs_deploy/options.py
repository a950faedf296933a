"""What `hs-cluster` was asked for, checked before anything starts.

An option that was typed wins over a setting; both are bounded by the one table of settings (`hs_common.config.KEYS`).
"""

import os
from collections.abc import Mapping
from typing import Any

from hs_common import limits
from hs_common.clock import wall
from hs_common.config import KEYS, Key, Settings
from hs_common.errors import RefusedError
from hs_common.programs import find_program
from hs_common.setting import A_DATABASE, AN_ADDRESS, MEMORY, parse_option, require_text, size
from hs_common.values import dataclass
from hs_deploy.elsewhere import ONLY_HERE, Elsewhere, elsewhere
from hs_deploy.launchers.autoscale import Policy
from hs_deploy.scaling import policy_of

SIGNALWAIT = Key("--signalwait", "number", 10.0, "seconds between the signals that stop a task", 0, 3600)
"""Of -S; an option alone, no setting."""

CORES = Key("--cores", "integer", 0, "cores that running tasks may ask for", 1, limits.ID_MAX)
"""Likewise of --cores."""

WALLTIME = Key("--walltime", "number", 0.0, "seconds until the workers must end", 1, 1e9)
"""Likewise of --walltime."""

EXCLUSIONS = {
    "no_db": ("database", "restart", "retry_failed", "forever", "once", "initdb"),
    "restart": ("file", "once", "forever", "dry_run"),
    "retry_failed": ("file", "once", "forever", "dry_run"),
    "dry_run": ("once", "forever"),
    "capture": ("output", "errors", "keep_order", "group_output"),
    "mpi": ("launcher", "ssh", "ssh_group", *ONLY_HERE),
    "launcher": ("ssh", "ssh_group", *ONLY_HERE),
    "ssh": ("output", "errors"),
    "ssh_group": ("output", "errors"),
    "autoscaling": ("mpi", "ssh", "ssh_group", "no_db", "once", "dry_run", *ONLY_HERE),
    "quiet": ("verbose",),
}
"""Parameter -> those that it cannot be together with."""

ONE_STREAM = ("mpi", "launcher", "autoscaling")
"""With these what all tasks say comes in one stream."""
WHOLE_OUTPUTS = ("keep_order", "group_output")
"""These would take each task's apart."""

A_PATH = "the path of a file"

NAMES_SOMETHING = {
    "file": ("FILE", "a file with one task per line, or - for stdin"),
    "shell": ("--shell", "a program"),
    "remote_exe": ("--remote-exe", "a program"),
    "halt": ("--halt", "N, N%, now,N or now,N%"),
    "bind": ("-H", AN_ADDRESS),
    "failures": ("-f", A_PATH),
    "joblog": ("--joblog", A_PATH),
    "output": ("-o", A_PATH),
    "errors": ("-e", A_PATH),
}
"""Parameter -> its option, and what that expects: never nothing."""

LEVELS = {-1: "error", 1: "info", 2: "debug"}
"""What -q, -v and -vv make of the log level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Durations are seconds."""

    file: str | None
    """Path of the input; None: stdin."""
    slots: int
    """0: as many as there are cores."""
    template: str
    shell: str
    """A path."""
    bundlesize: int
    bundlewait_s: float
    retries_max: int
    eager: bool
    no_db: bool
    database: str | None
    """Path of a SQLite file, or URL of a server; None: the run's own."""
    initdb: bool
    confirm: bool
    bind: str
    """"": all interfaces."""
    port: int
    port_typed: bool
    """Whether exactly this port was asked for, or the next free one will do."""
    listens: bool
    """Whether others may join."""
    delay_s: float
    task_timeout_s: float
    """0: none."""
    signalwait_s: float
    cores: int
    """That running tasks may ask for; 0: what the worker may use."""
    memory: int
    """Bytes, likewise."""
    until: float
    """When the workers must end, seconds since the epoch; 0: what their batch system says."""
    capture: bool
    keep_order: bool
    group_output: bool
    elsewhere: Elsewhere | None
    """Where the workers are; None: here."""
    policy: Policy | None
    """How many workers there are; None: one, or as many as are started elsewhere."""
    timeout_s: float
    """After which a worker without work leaves; 0: never."""
    output: str | None
    errors: str | None
    failures: str | None
    joblog: str | None
    halt: str | None
    """As `hs_scheduler.halt` reads it."""
    once: bool
    forever: bool
    restart: bool
    retry_failed: bool
    """`restart` is set as well."""
    reads_stdin: bool
    level: str | None
    """Of the log; None: as the settings say."""
    for_daemons: str
    """What they need of the settings, as `config.HANDED` carries it."""
    quiet: bool
    dry_run: bool

    @property
    def remote(self) -> bool:
        """Whether the workers are not a daemon of ours: they are somewhere else, or as many as there is work for."""
        return self.elsewhere is not None or self.policy is not None

    @property
    def by_ssh(self) -> bool:
        """Whether the workers run in sessions of SSH that we hold."""
        return self.elsewhere is not None and bool(self.elsewhere.nodes) and self.policy is None

    @property
    def spools(self) -> bool:
        """Whether outputs are kept until they can be printed as a whole."""
        return self.keep_order or self.group_output


def check_exclusions(typed: Mapping[str, Any]) -> None:
    """Refuse what makes no sense together; only what was typed is judged.

    Raises:
        RefusedError: Both are named.

    """
    for one, others in EXCLUSIONS.items():
        for other in others:
            if typed[one] and typed[other]:
                hint = ": -c keeps what each task says" if one in ONE_STREAM and other in WHOLE_OUTPUTS else ""
                raise RefusedError(f"{_named(one, typed)} and {_named(other, typed)} exclude each other{hint}")


def recall(typed: Mapping[str, Any], recorded: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a run that is continued was asked for: what is typed now, else what it recorded.

    Also a sentence for each difference.
    """
    merged = dict(typed)
    differences = []
    for name, before in recorded.items():
        if name not in typed or name == "database" or before is None or before is False:
            continue
        if excluding := [other for other in _excluded_by(name) if typed[other]]:
            differences.append(f"{_named(excluding[0], typed)} instead of {_named(name, typed)} as recorded")
            continue
        if typed[name] is None or typed[name] is False:
            merged[name] = before if isinstance(before, bool) else str(before)
        elif not _same(typed[name], before):
            differences.append(f"--{name.replace('_', '-')} {typed[name]} instead of {before} as recorded")
    return merged, differences


def options(typed: Mapping[str, Any], settings: Settings) -> Options:
    """Return the options in force.

    Args:
        typed: Name of the parameter -> what was typed, as text; None where nothing was. Flags are bools, -v is a count.
        settings: What the environment and the files say.

    Raises:
        RefusedError: A value out of bounds, or a combination without meaning.

    """

    def own(key: Key, name: str, option: str) -> Any:  # noqa: ANN401 - of the kind that the key says
        return key.default if typed[name] is None else parse_option(key, typed[name], option)

    def value(name: str, key: str, option: str) -> Any:  # noqa: ANN401 - of the kind that the key says
        return settings.get(key) if typed[name] is None else parse_option(KEYS[key], typed[name], option)

    quiet = bool(typed["quiet"])
    continues = typed["restart"] or typed["retry_failed"]
    waits = continues or typed["forever"] or typed["autoscaling"] is not None
    for name, (option, expected) in NAMES_SOMETHING.items():
        require_text(option, typed[name], expected)
    away = elsewhere(typed, settings)
    policy = policy_of(typed, settings)
    level = LEVELS.get(-1 if quiet else min(2, typed["verbose"]))
    shell_place = f"{settings.origin('worker.shell')}: worker.shell" if typed["shell"] is None else "--shell"
    retries_max = value("max_retries", "scheduler.max_retries", "-r")
    # What is continued may have recorded how often.
    if typed["eager"] and not (retries_max or continues):
        raise RefusedError("--eager: without retries nothing goes first: give -r NUM too")
    return Options(
        file=None if typed["file"] in (None, "-") else typed["file"],
        slots=value("num_tasks", "worker.num_tasks", "-N"),
        template=check_template(value("template", "worker.template", "-t")),
        shell=find_program(value("shell", "worker.shell", "--shell"), shell_place),
        bundlesize=value("bundlesize", "scheduler.bundlesize", "-b"),
        bundlewait_s=value("bundlewait", "scheduler.bundlewait", "-w"),
        retries_max=retries_max,
        eager=typed["eager"] or settings.get("scheduler.eager"),
        no_db=typed["no_db"],
        database=None if typed["no_db"] else _database(typed["database"], settings),
        initdb=typed["initdb"],
        confirm=not typed["no_confirm"],
        bind="127.0.0.1"
        if away is not None and away.tunnel and typed["bind"] is None
        else value("bind", "broker.bind", "-H"),
        port=value("port", "broker.port", "-p"),
        port_typed=typed["port"] is not None,
        listens=typed["port"] is not None or typed["bind"] is not None or away is not None,
        delay_s=value("delay_start", "worker.delay_start", "-d"),
        task_timeout_s=value("task_timeout", "worker.task_timeout", "-W"),
        signalwait_s=own(SIGNALWAIT, "signalwait", "-S"),
        cores=0 if typed["cores"] is None else own(CORES, "cores", "--cores"),
        memory=size(MEMORY, typed["memory"], "--memory"),
        until=0.0 if typed["walltime"] is None else wall() + own(WALLTIME, "walltime", "--walltime"),
        capture=typed["capture"],
        keep_order=typed["keep_order"],
        group_output=typed["group_output"],
        elsewhere=away,
        policy=policy,
        timeout_s=value("timeout", "worker.timeout", "-T") if policy is not None else 0.0,
        output=typed["output"],
        errors=typed["errors"],
        failures=typed["failures"],
        joblog=typed["joblog"],
        halt=_halt(typed["halt"]),
        once=typed["once"],
        # Scaled, a cluster stays until it is told to stop.
        forever=typed["forever"] or policy is not None,
        restart=continues,
        retry_failed=typed["retry_failed"],
        reads_stdin=typed["file"] == "-" or (typed["file"] is None and not waits),
        level=level,
        for_daemons=settings.for_daemons(**({} if level is None else {"logging_level": level})),
        quiet=quiet,
        dry_run=typed["dry_run"],
    )


def check_template(source: str) -> str:
    """Return a template that makes sense.

    Raises:
        RefusedError: It does not, or would run nothing.

    """
    if not source.strip():
        raise RefusedError(f"template: {source!r} would run nothing: give a command, as 'process {{}}'")
    if source != "{}":
        from hs_common.template import Template  # noqa: PLC0415 - most have none

        Template(os.fsencode(source))
    return source


def _excluded_by(name: str) -> set[str]:
    """Return the parameters that it cannot be together with."""
    return {*EXCLUSIONS.get(name, ()), *(one for one, others in EXCLUSIONS.items() if name in others)}


def _named(name: str, typed: Mapping[str, Any]) -> str:
    """Return how a user knows a parameter."""
    if name == "file":
        return f"FILE ({typed[name]})"
    if name == "ssh":
        return f"--ssh {typed[name]}".rstrip()
    return {"quiet": "-q", "verbose": "-v", "output": "-o", "errors": "-e", "keep_order": "-k"}.get(
        name, f"--{name.replace('_', '-')}"
    )


def _same(typed: object, recorded: object) -> bool:
    """Whether a text that was typed means the recorded value."""
    if isinstance(recorded, str):
        return typed == recorded or os.path.abspath(str(typed)) == recorded  # paths are recorded as absolute ones
    if isinstance(recorded, bool) or not isinstance(recorded, int | float):
        return typed == recorded
    try:
        return float(str(typed)) == recorded
    except ValueError:
        return False


def _halt(text: str | None) -> str | None:
    if text is not None:
        from hs_scheduler.halt import parse_halt  # noqa: PLC0415 - few ask for it

        parse_halt(text)
    return text


def _database(typed: str | None, settings: Settings) -> str | None:
    path, place = typed, "--database"
    require_text(place, path, A_DATABASE)
    if not path:
        key = "database.url" if settings.get("database.url") else "database.file"
        path, place = settings.get(key), f"{settings.origin(key)}: {key}"
    if not path:
        return None
    from hs_scheduler.stores.locations import check, is_url  # noqa: PLC0415 - most have none

    if "://" in path:
        try:
            is_url(path)
        except RefusedError as exc:
            raise RefusedError(f"{place}: {exc}") from exc
        return path
    check(path, place)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise RefusedError(f"{place} {path}: there is no folder {folder}")
    return os.path.abspath(path)
