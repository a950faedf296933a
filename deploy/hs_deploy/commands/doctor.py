"""`hs doctor`: why a worker or a command does not find its cluster, and what to do about it."""

import json

import click

from hs_common.command_line import SETTINGS
from hs_deploy.doctor import Finding, examine, line, report


@click.command(context_settings=SETTINGS)
@click.option("--connection", default="main", show_default=True, metavar="FILE|NAME", help="Of this cluster.")
@click.option(
    "--role", type=click.Choice(["control", "worker", "submit"]), default="control", show_default=True,
    help="Whose connection, where NAME is given: worker on a host that runs workers.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.pass_context
def doctor(context: click.Context, connection: str, role: str, *, as_json: bool) -> None:
    """Look at all that lies between this host and a cluster: file limits, site, names, ports, keys, versions, clocks.

    Run it on both ends. Status 1: something is wrong; what to do about it is said.
    """
    found: list[Finding] = []

    def say(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            click.echo(line(finding))

    status = report(examine(connection, role), say)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found]))
    context.exit(status)
