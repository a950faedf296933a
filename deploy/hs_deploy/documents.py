"""What each daemon reads first over its lifeline: the keys of a new cluster, and who listens where. Secrets go nowhere else.

Where others join, a connection file for each of their roles lies in the run's folder too.
"""

from collections.abc import Mapping
from typing import Any

from hs_common.security import make_cluster
from hs_deploy.daemons import Daemon
from hs_deploy.options import Options
from hs_deploy.runs.folders import Run, is_server


def documents(
    asked: Options, run: Run, port: int | None, record: Mapping[str, Any], host: str
) -> dict[Daemon, Mapping[str, object]]:
    """Make the keys, and the files for those who join; return daemon -> its document.

    Args:
        asked: What was asked for.
        run: Where things are.
        port: Where others may join, or None.
        record: What the scheduler is told of the run.
        host: The name of this one, for people.

    """
    server, connections = make_cluster((run.endpoint,), host)
    listening = server.to_json()
    worker: Mapping[str, object] = {"connection": connections["worker"].to_json()}
    path = control = None
    if port is not None:
        from hs_common import addresses  # noqa: PLC0415 - few listen
        from hs_deploy import joining  # noqa: PLC0415

        assert run.folder is not None, "who lets others join has a folder"
        listening["endpoints"] = [run.endpoint, addresses.bind_endpoint(asked.bind, port)]
        endpoints = addresses.advertised(asked.bind, port)
        path = joining.write_connections(run.folder, connections, endpoints)
        control = joining.connection_file(run.folder, "control")
        if asked.remote and asked.policy is None:
            from hs_deploy import remote  # noqa: PLC0415 - most workers are here

            worker = remote.document(
                asked, connections, outputs=run.outputs, worker_file=path, endpoints=endpoints, port=port
            )
    if asked.policy is not None:
        from hs_deploy import remote  # noqa: PLC0415 - few are scaled

        worker = remote.scaled_document(asked, connections, worker_file=path)
    to_broker: dict[str, Any] = {"server": listening}
    to_scheduler = {
        "connection": connections["scheduler"].to_json(),
        "run": record,
        "remote": asked.remote,
        "scaled": asked.policy is not None,
    }
    if run.database is not None:
        # By this file commands reach who owns the database; the broker writes it beside its socket. Where others join, they are
        # told of the one in the folder of the run.
        to_broker["control"] = {"path": run.control, "connection": connections["control"].to_json()}
        to_scheduler["control"] = run.control if control is None else control
        if is_server(run.database):
            to_scheduler["database"] = run.database
    return {
        Daemon.BROKER: to_broker,
        Daemon.SCHEDULER: to_scheduler,
        Daemon.WORKER: worker,
    }
