"""The command line of `hs-broker`, for a broker that stands by itself."""

from typing import Any

import click

from hs_broker import program
from hs_common.command_line import SETTINGS, Program, version_option
from hs_common.errors import RefusedError

EXAMPLES = """\b
Examples:
  hs-broker                               of the cluster main: keys, connection files, the first free port from 50001
  hs-broker --name night --port 50100     another one beside it
"""


@click.command(cls=Program, context_settings=SETTINGS, epilog=EXAMPLES)
@click.option("-H", "--bind", metavar="ADDR", help="Listen on this address only.  [broker.bind, else all interfaces]")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), metavar="NUM",
    help="Listen on exactly this port.  [broker.port, else the first free one from 50001]",
)  # fmt: skip
@click.option(
    "--name", default="main", show_default=True, metavar="NAME",
    help="Of the cluster: its connection files are <site>/connect/NAME/<role>.json.",
)  # fmt: skip
@click.option("--keygen", is_flag=True, help="Make keys and connection files, and nothing else.")
@click.option("--connection", hidden=True)
@version_option
def broker(**given: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Run the daemon between schedulers and workers until told to stop."""
    from hs_broker import standing  # noqa: PLC0415 - --help needs none of it

    if given["connection"] is None:
        program.run(standing.serve, standing.Options(given["bind"], given["port"], given["name"], given["keygen"]))
    program.run(_refuse_connection, given)


def _refuse_connection(_: object, given: dict[str, Any]) -> None:
    if given["connection"] != "-":
        raise RefusedError(f"--connection {given['connection']}: a broker takes only -, its files are made by --name")
    raise RefusedError("--connection - takes no other option")
