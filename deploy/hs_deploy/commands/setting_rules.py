"""What a setting may say beyond its kind: before it is written, whoever reads it is asked.

What is a matter of the host (a program, a folder, an address) is only told: the file may be for another one, too.
"""

import os
from collections.abc import Callable

from hs_common.config import KEYS, Settings, Value
from hs_common.errors import RefusedError
from hs_common.programs import find_program
from hs_deploy.elsewhere import launcher_words
from hs_deploy.joining import check_address
from hs_deploy.launchers.nodes import nodes_of
from hs_deploy.launchers.ssh_args import parse_ssh_args
from hs_deploy.options import check_template
from hs_scheduler.stores import locations


def check_rules(key: str, value: Value, settings: Settings) -> str:
    """Return what is not so on this host, "" where all is well.

    Args:
        key: The setting, or one list of `ssh.nodelist`.
        value: As its kind has it.
        settings: Those in force: the client of SSH decides what its arguments may be.

    Raises:
        RefusedError: It would be refused on every host.

    """
    if key in KEYS and value == KEYS[key].default:
        return ""  # as if it were not set
    if key == "ssh.nodelist" or key.startswith("ssh.nodelist."):
        nodes_of(value, None, key)
        return ""
    text = str(value)
    match key:
        case "worker.template":
            check_template(text)
        case "worker.shell":
            return _of_this_host(lambda: find_program(text, key))
        case "launcher":
            words = launcher_words(text, key)
            return _of_this_host(lambda: find_program(words[0], key))
        case "broker.bind":
            return _of_this_host(lambda: check_address(text, key))
        case "ssh.args":
            parse_ssh_args(text, key, fabric=settings.get("ssh.client") == "fabric")
        case "database.url":
            if not locations.is_url(text):
                locations.check(text, key)
        case "database.file":
            locations.check(text, key)
            folder = os.path.dirname(os.path.abspath(text))
            return "" if os.path.isdir(folder) else f"{key} {text}: there is no folder {folder} on this host"
    return ""


def _of_this_host(check: Callable[[], object]) -> str:
    try:
        check()
    except RefusedError as exc:
        return f"{exc} on this host"
    return ""
