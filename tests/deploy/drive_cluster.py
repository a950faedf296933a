"""Runs a Cluster whose three daemons are shell scripts of the test: a process of its own, for it adopts and ends orphans.

argv: one JSON object {"hs-broker": script, ...}, then the path of a spool or nothing. stdin: the input.
stdout: [status, reason, left] as JSON.
"""

import json
import os
import sys

from hs_common.prctl import become_subreaper
from hs_common.signals import SignalPipe
from hs_deploy.daemons import Daemon
from hs_deploy.launchers import local
from hs_deploy.output.terminal import Terminal
from hs_deploy.runs.spool import Spool
from hs_deploy.supervision.cluster import Cluster
from hs_deploy.supervision.launch import SIGNALS, Launcher, Streams
from hs_deploy.supervision.supervisor import SupervisorCore


def main() -> None:
    """Run it."""
    scripts = json.loads(sys.argv[1])
    spool = Spool(local.copy_out_of_the_way(0), sys.argv[2]) if len(sys.argv) > 2 else None
    launcher = Launcher(
        arguments={daemon: ["/bin/sh", "-c", scripts[daemon]] for daemon in Daemon},
        environ=dict(os.environ),
        streams=Streams(input=None, output=local.copy_out_of_the_way(1), errors=local.copy_out_of_the_way(2)),
    )
    core = SupervisorCore(recorded=True, signalwait_s=1)
    cluster = Cluster(
        core=core,
        launcher=launcher,
        spool=spool,
        terminal=Terminal(quiet=True),
        signals=SignalPipe(SIGNALS),
        kept=local.children(),
    )

    def hand_over() -> None:
        become_subreaper()
        launcher.give({daemon: {"for": daemon} for daemon in Daemon})

    finish = cluster.run(hand_over)
    sys.stdout.write(json.dumps([finish.status, finish.reason, cluster.reports.totals.left]) + "\n")


main()
