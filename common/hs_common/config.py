"""The settings in force: every place they may come from, and which one wins.

    option > HYPERSHELL_SECTION_KEY > ./.hypershell/config.toml > ~/.hypershell/config.toml > /etc/hypershell.toml > default

Options are the callers' business. In a file, `KEY_env` names a variable that holds the value, and `KEY_eval` a command whose
first line of output is the value; both are looked at when the setting is asked for, and only where they win. A value that makes
no sense is refused with its key and its place; an unknown name is only a warning, for it may belong to a newer version.

hs-cluster decides for the daemons that it starts: they find all that they need in one variable, and read nothing else.
"""

import errno
import os
import stat
from collections.abc import Mapping
from typing import Any, Literal

from hs_common import older_settings
from hs_common.errors import RefusedError
from hs_common.setting import KEYS, Key, Value, parse
from hs_common.values import dataclass

__all__ = [
    "HANDED",
    "KEYS",
    "SYSTEM",
    "Key",
    "Place",
    "Settings",
    "Value",
    "load_settings",
    "parse",
    "paths",
    "read_text",
]

PREFIX = "HYPERSHELL_"
HANDED = "HYPERSHELL_SETTINGS"
"""What hs-cluster decided, for its daemons alone: they remove it before they start anything."""
OTHER_NAMES = frozenset({"HYPERSHELL_SITE", "HYPERSHELL_CRASH_AT", "HYPERSHELL_WORKER_EXECUTOR"})
"""Variables that are ours and no settings: where things are kept, fault tests, benchmarks."""
SYSTEM = "/etc/hypershell.toml"

_FOR_DAEMONS = (
    "worker.lease",
    "worker.grace",
    "worker.margin",
    "logging.level",
    "logging.format",
    "logging.file",
    "logging.file_size",
    "logging.file_count",
)
"""What no option carries to them; none of it is secret, for an environment is not."""

_VARIABLE_OF = {PREFIX + name.replace(".", "_").upper(): name for name in KEYS}
_SECTIONS = frozenset(name.split(".")[0] for name in KEYS if "." in name)
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_handed: list["Settings"] = []
"""Of this process, once they were taken from the environment."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one setting is written."""

    name: str
    """Path of a file, name of a variable, or hs-cluster."""
    written: str
    """The name as it stands there, `_env` or `_eval` included."""
    kind: Literal["value", "env", "eval", "refused"]
    raw: Value
    """The value, the name of a variable, a command, or why there is no value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. Made by `load_settings`."""

    _found: Mapping[str, tuple[Place, ...]]
    """Setting -> all its places, the strongest first."""
    _environ: Mapping[str, str]
    warnings: tuple[str, ...]
    """One sentence for each unknown name; `logs.configure_by` logs them."""
    _values: dict[str, Value]
    """What was looked up already: a command runs once."""

    def get(self, key: str) -> Any:  # noqa: ANN401 - of the kind that KEYS says
        """Return the value: of the highest place that has one, else the default.

        Raises:
            RefusedError: Its variable is not set, its command failed, or what they say makes no sense.

        """
        if key not in self._values:
            places = self.places(key)
            self._values[key] = self._value(KEYS[key], places[0]) if places else KEYS[key].default
        return self._values[key]

    def origin(self, key: str) -> str:
        """Return where the value comes from: a variable, a file, or "default"."""
        places = self.places(key)
        return places[0].name if places else "default"

    def places(self, key: str) -> tuple[Place, ...]:
        """Return every place that has the setting, the strongest first."""
        if key not in KEYS:
            raise KeyError(key)
        return self._found.get(key, ())

    def for_daemons(self, **changed: Value) -> str:
        """Return the value of `HANDED`. `changed`: what an option decided, as `logging_level="info"`."""
        import json  # noqa: PLC0415 - only hs-cluster asks

        return json.dumps({key: changed.get(key.replace(".", "_"), self.get(key)) for key in _FOR_DAEMONS})

    def _value(self, key: Key, place: Place) -> Value:
        where = f"{place.name}: {place.written}"
        match place.kind:
            case "value":
                return place.raw
            case "env":
                if (text := self._environ.get(str(place.raw))) is None:
                    raise RefusedError(f"{where}: there is no variable {place.raw}")
                return parse(key, text, where)
            case "eval":
                _check_owner(place.name, place.written)
                from hs_common.first_line import first_line  # noqa: PLC0415 - few ask for it

                return parse(key, first_line(str(place.raw), where), where)
            case "refused":
                raise RefusedError(str(place.raw))


def load_settings(
    environ: Mapping[str, str] | None = None, cwd: str | None = None, system: str = SYSTEM, *, lenient: bool = False
) -> Settings:
    """Read all places; in a daemon of hs-cluster, only what that handed over.

    `lenient`: what a variable says is refused only when its setting is asked for.

    Raises:
        RefusedError: A value is of the wrong kind or out of bounds, or a file cannot be read.

    """
    if environ is None:
        if (text := os.environ.pop(HANDED, None)) is not None:
            _handed.append(_take(text))
        if _handed:
            return _handed[-1]
    environ = os.environ if environ is None else environ
    found: dict[str, tuple[Place, ...]] = {}
    warnings: list[str] = []
    for path in dict.fromkeys(paths(environ, cwd, system)):
        if (content := _content(path)) is not None:
            places, unknown = read_text(content, path)
            _put_above(found, places)
            warnings += unknown
    places, unknown = _read_environment(environ, lenient=lenient)
    _put_above(found, places)
    return Settings(found, environ, (*warnings, *unknown), {})


def paths(
    environ: Mapping[str, str] | None = None, cwd: str | None = None, system: str = SYSTEM
) -> tuple[str, str, str]:
    """Return where files may be: of the system, the home, and the folder; they need not exist."""
    home = (os.environ if environ is None else environ).get("HOME") or os.path.expanduser("~")
    return (
        system,
        os.path.join(home, ".hypershell", "config.toml"),
        os.path.join(cwd or _cwd(), ".hypershell", "config.toml"),
    )


def read_text(content: bytes, path: str) -> tuple[dict[str, Place], list[str]]:
    """Return what a file of settings says, and a sentence for each name in it that is none of ours.

    Raises:
        RefusedError: It is no TOML, or a value in it makes no sense.

    """
    import tomllib  # noqa: PLC0415 - 12 ms, and most have no file

    try:
        document = tomllib.loads(content.decode())
    except ValueError as exc:
        raise RefusedError(f"{path}: {exc}") from exc
    found: dict[str, Place] = {}
    unknown = []
    for section, value in document.items():
        if section in _SECTIONS | older_settings.SECTIONS and isinstance(value, dict):
            pairs = [(f"{section}.{name}", item) for name, item in value.items()]
        else:
            pairs = [(section, value)]
        for written, item in pairs:
            key, kind = _split(written)
            if key not in KEYS:
                unknown.append(f"{path}: unknown setting {written}{older_settings.advice(key)}")
                continue
            if key in found:
                raise RefusedError(f"{path}: {found[key].written} and {written} exclude each other")
            if kind == "value":
                item = parse(KEYS[key], item, path)  # noqa: PLW2901 - as the setting has it
            elif not isinstance(item, str) or not item.strip():
                what = "the name of a variable" if kind == "env" else "a command"
                raise RefusedError(f"{path}: {written} = {item!r:.80} is not {what}")
            found[key] = Place(path, written, kind, item)
    return found, unknown


def _split(written: str) -> tuple[str, Literal["value", "env", "eval"]]:
    if written.endswith("_env"):
        return written.removesuffix("_env"), "env"
    if written.endswith("_eval"):
        return written.removesuffix("_eval"), "eval"
    return written, "value"


def _put_above(found: dict[str, tuple[Place, ...]], places: Mapping[str, Place]) -> None:
    for key, place in places.items():
        found[key] = (place, *found.get(key, ()))


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        # In the home of somebody else this is their site: private, so no settings of a folder that others work in.
        if exc.errno == errno.EACCES and _is_closed(os.path.dirname(path)):
            return None
        raise RefusedError(f"{path}: {exc.strerror}") from exc


def _is_closed(folder: str) -> bool:
    """Whether it belongs to somebody else, who lets us not in."""
    try:
        return os.stat(folder).st_uid != os.geteuid() and not os.access(folder, os.X_OK, effective_ids=True)
    except OSError:
        return False


def _read_environment(environ: Mapping[str, str], *, lenient: bool) -> tuple[dict[str, Place], list[str]]:
    found, unknown = {}, []
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_NAMES:
            continue
        name = _VARIABLE_OF.get(variable)
        if name is None:
            advice = older_settings.advice(older_settings.of_variable(variable))
            unknown.append(f"environment: unknown setting {variable}{advice}")
            continue
        try:
            found[name] = Place(variable, variable, "value", parse(KEYS[name], text, variable))
        except RefusedError as exc:
            if not lenient:
                raise
            found[name] = Place(variable, variable, "refused", str(exc))
    return found, unknown


def _take(text: str) -> Settings:
    import json  # noqa: PLC0415 - only what hs-cluster started gets here

    try:
        given = json.loads(text)
        found = {key: given[key] for key in _FOR_DAEMONS}
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError(f"{HANDED} is for the daemons that hs-cluster starts: unset it") from exc
    places = {key: (Place("hs-cluster", key, "value", value),) for key, value in found.items()}
    return Settings(places, {}, (), {})


def _check_owner(path: str, written: str) -> None:
    """Refuse to run what somebody else may have written: a folder that we work in may be anybody's."""
    try:
        status = os.stat(path)
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    if status.st_uid not in (0, os.geteuid()):
        raise RefusedError(f"{path}: {written} is not run: the file belongs to user {status.st_uid}, not to you")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise RefusedError(f"{path}: {written} is not run: others can write to the file: chmod go-w it")


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/proc/self/cwd"  # The folder was removed under us: nothing can be in it, which this path says too.
