"""`hs config`: read, write and explain settings."""

import contextlib
import json
import os
import sys
from typing import Any, NoReturn

import click

from hs_common.command_line import SETTINGS
from hs_common.config import KEYS, SYSTEM, Place, Settings, Value, load_settings, paths
from hs_common.ending import say
from hs_common.errors import RefusedError
from hs_common.logs import configure_by
from hs_common.setting import parse_option
from hs_deploy.commands.setting_rules import check_rules
from hs_deploy.commands.settings_file import SettingsFile, forms, key_of, line_of

EXAMPLES = """\b
Examples:
  hs config get                                   all settings in force
  hs config set worker.num_tasks 8                in ~/.hypershell/config.toml
  hs config set --local worker.template 'process {}'     for runs in this folder
  hs config set database.url_eval 'pass show db'  the first line that a command prints
  hs config which worker.num_tasks                where its value comes from
"""

AS_THEY_COME = SETTINGS | {"ignore_unknown_options": True}
"""A value may begin with a dash: worker.delay_start is negative at times."""

NAMED_LIST = "ssh.nodelist."


@click.group(context_settings=SETTINGS, epilog=EXAMPLES)
def config() -> None:
    """Read and write settings.

    \b
    What wins, from the strongest to the weakest:
      an option of the command          HYPERSHELL_SECTION_KEY in the environment
      ./.hypershell/config.toml         ~/.hypershell/config.toml
      /etc/hypershell.toml              the default
    """  # noqa: D301 - \b is click's


@config.command(context_settings=SETTINGS)
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, or for one KEY its value.")
def get(key: str | None, *, as_json: bool) -> int:
    """Print the value of KEY, or every setting of a section, or all. What cannot be told is said on stderr, with status 2."""
    settings = _load()
    if key is None or key in {name.partition(".")[0] for name in KEYS if "." in name}:
        return _print_all(settings, "" if key is None else f"{key}.", as_json=as_json)
    value = settings.get(_known(key)) if not key.startswith(NAMED_LIST) else _named_list(settings, key)
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else shown(value))
    return 0


@config.command("set", context_settings=AS_THEY_COME)
@click.argument("key")
@click.argument("value", type=click.UNPROCESSED)
@click.option("--local", is_flag=True, help="In ./.hypershell/config.toml: for what is started in this folder.")
@click.option("--system", is_flag=True, help=f"In {SYSTEM}: for everybody.")
def set_(key: str, value: str, *, local: bool, system: bool) -> None:
    """Write KEY to ~/.hypershell/config.toml; comments in it stay.

    KEY_env takes the name of a variable that holds the value, KEY_eval a command whose first line of output is the value.
    """
    file = SettingsFile(_path(local=local, system=system))
    written = _checked(key, value)
    note = check_rules(key, written, load_settings())
    for warning in [*file.set(key, written), *([note] if note else [])]:
        say(warning)
    key = key_of(key) if not key.startswith(NAMED_LIST) else NAMED_LIST[:-1]
    with contextlib.suppress(RefusedError):  # something else is wrong with another place: not what was asked
        strongest = load_settings().places(key)[:1]
        if strongest and os.path.realpath(strongest[0].name) != file.path:
            say(f"{key} is overridden by {_where(strongest[0])}")


@config.command(context_settings=SETTINGS, short_help="Open the file of settings in an editor.")
@click.option("--local", is_flag=True, help="./.hypershell/config.toml instead of ~/.hypershell/config.toml.")
@click.option("--system", is_flag=True, help=f"{SYSTEM} instead.")
def edit(*, local: bool, system: bool) -> None:
    """Open the file of settings in $VISUAL, $EDITOR or vi; it is replaced only by what makes sense."""
    file = SettingsFile(_path(local=local, system=system))
    before = text = file.read()
    while True:
        text = click.edit(text, extension=".toml", require_save=False) or ""
        if text == before:
            click.echo("nothing changed")
            return
        try:
            with file.locked():
                if file.read() != before:
                    raise RefusedError(f"{file.path}: somebody else has changed it meanwhile")
                warnings = file.write(text)
        except RefusedError as exc:
            if not (sys.stdin.isatty() and click.confirm(f"{exc}\nEdit again?", default=True, err=True)):
                raise RefusedError(f"{exc}: nothing was changed") from exc
            continue
        for warning in warnings:
            say(warning)
        return


@config.command(context_settings=SETTINGS, short_help="Say where the value of KEY comes from.")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def which(key: str, *, as_json: bool) -> None:
    """Say where the value of KEY comes from, what it overrides, and where it applies."""
    settings = _load()
    places = settings.places(_known(key))
    found = [_describe(place) for place in places] or [{"place": "default", "line": None, "written": key}]
    applies = KEYS[key].applies
    if as_json:
        described = {
            "key": key,
            "value": settings.get(key),
            **found[0],
            "overrides": found[1:],
            "applies": applies or None,
        }
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
        return
    click.echo(f"{key} = {shown(settings.get(key))}".rstrip())
    click.echo(f"  from {_where(places[0]) if places else 'default'}")
    for place in places[1:]:
        click.echo(f"  overrides {_where(place)}")
    if applies:
        click.echo(f"  applies only {applies}; elsewhere it is passed over")
    if places[:1] and key == "database.file" and _is_set(settings, "database.url"):
        click.echo(f"  does not apply: database.url is set, by {_where(settings.places('database.url')[0])}")


def shown(value: Value) -> str:
    """Return a value as people and scripts read it: text as it is, lists and tables as JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.15g}"
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _print_all(settings: Settings, section: str, *, as_json: bool) -> int:
    """Print every setting whose name begins so; what has no value is told on stderr, and the rest is printed all the same."""
    found: dict[str, Value] = {}
    status = 0
    for name in KEYS:
        if not name.startswith(section):
            continue
        try:
            found[name] = settings.get(name)
        except RefusedError as exc:
            say(str(exc))
            status = 2
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for name, value in found.items():
            click.echo(f"{name} = {shown(value)}".rstrip())
    return status


def _load() -> Settings:
    settings = load_settings(lenient=True)
    with contextlib.suppress(RefusedError):  # something is wrong with a setting of the log: who asks for that hears it
        configure_by(settings)
    return settings


def _is_set(settings: Settings, key: str) -> bool:
    """Whether it has another value than none; one that cannot be told is one."""
    try:
        return bool(settings.get(key))
    except RefusedError:
        return True


def _known(key: str) -> str:
    return key if key in KEYS else _refuse(key)


def _refuse(key: str) -> NoReturn:
    from difflib import get_close_matches  # noqa: PLC0415

    from hs_common.older_settings import advice  # noqa: PLC0415

    if use := advice(key):
        raise RefusedError(f"there is no setting {key}{use}")
    close = get_close_matches(key, [*KEYS, *(name.partition(".")[2] for name in KEYS)], n=1, cutoff=0.75)
    full = next((name for name in KEYS if key and close and close[0] in (name, name.partition(".")[2])), None)
    raise RefusedError(
        f"there is no setting {key or repr(key)}: {f'do you mean {full}?' if full else 'hs config get lists them'}"
    )


def _checked(key: str, text: str) -> Value:
    """Return what to write for what was typed."""
    if key.startswith(NAMED_LIST):
        if not (name := key.removeprefix(NAMED_LIST)) or "." in name:
            raise RefusedError(f"{key}: {name!r} is no name of a list of hosts")
        return text
    if key in KEYS:
        value = parse_option(KEYS[key], text, key)
        # 10M and ~/log stay what people typed.
        return text if KEYS[key].kind in ("size", "path") else value
    if key not in forms(key_of(key)) or key_of(key) not in KEYS:
        _refuse(key)
    if not text.strip():
        raise RefusedError(f"hs config set: {key} = {text!r} names nothing")
    return text


def _named_list(settings: Settings, key: str) -> Any:  # noqa: ANN401 - text or a list of it
    lists = settings.get(NAMED_LIST[:-1])
    name = key.removeprefix(NAMED_LIST)
    if not isinstance(lists, dict) or name not in lists:
        raise RefusedError(f"there is no list of hosts {name} in {NAMED_LIST[:-1]}")
    return lists[name]


def _path(*, local: bool, system: bool) -> str:
    if local and system:
        raise RefusedError("--local and --system exclude each other")
    everybody, home, folder = paths()
    return everybody if system else folder if local else home


def _describe(place: Place) -> dict[str, Any]:
    line = line_of(SettingsFile(place.name).read(), place.written) if os.path.isabs(place.name) else None
    described: dict[str, Any] = {"place": place.name, "line": line, "written": place.written}
    return described if place.kind == "value" else described | {place.kind: place.raw}


def _where(place: Place) -> str:
    found = _describe(place)
    where = f"{place.name}:{found['line']}" if found["line"] else f"the variable {place.name}"
    match place.kind:
        case "env":
            return f"{where}, the variable {place.raw}"
        case "eval":
            return f"{where}, the output of: {place.raw}"
        case _:
            return where
