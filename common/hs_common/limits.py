"""Every bound that two daemons must agree on, with what happens there.

Sizes are bytes, durations seconds, counts plain integers.
"""

KIB = 1024
MIB = 1024 * KIB

MESSAGE_BYTES_MAX = 8 * MIB
"""Of one frame. A larger one ends the connection of its sender (libzmq MAXMSGSIZE)."""

BODY_BYTES_MAX = 4 * MIB
"""Of all bodies in one message. Senders split before this; a single task always fits."""

PARCEL_BYTES_MAX = 256 * KIB
"""Of a bundle of several tasks, and of the bodies in one Assign of several bundles. A worker hears a message when all of it has
come: behind 10 kB/s that is sooner than it would take its broker for gone (`SILENCE_S`)."""

LINE_BYTES_MAX = 1 * MIB
"""Of one task line. A longer line is a REJECTED task."""

SCRIPT_BYTES_MIN = 100 * KIB
"""From this length on a command runs as a script file: one argument of execve has at most 128 KiB."""

CREDIT_MAX = 10_000
"""Tasks that one worker may hold at once, running ones included. More is refused at decode."""

SLOTS_MAX = 10_000
"""Tasks that one worker may run at a time."""

BUNDLE_TASKS_MAX = 10_000
"""Tasks of one bundle; also the upper bound of --bundlesize."""

IDS_MAX = 20_000
"""Ids or bundle headers in one message. Senders split before this."""

NAME_BYTES_MAX = 1_024
"""Of a host name, version or reason on the wire."""

QUEUE_TASKS_MAX = 200_000
"""Tasks in the broker, queued or leased. It never gives the scheduler more credit than this."""

QUEUE_BYTES_MAX = 256 * MIB
"""Bodies in the broker's queue. A Submit beyond it is Refused, not buffered."""

WORKERS_MAX = 10_000
"""Sessions of workers in one broker. One more is Refused."""

CLASSES_MAX = 1_000
"""Different demands (cores, memory, seconds) in the broker's queue. One more is Refused."""

REQUESTS_OF_CLIENT_MAX = 16
"""Requests of one client that may be unanswered. One more is answered AGAIN."""

REQUESTS_MAX = 4_000
"""Likewise of all clients of a broker."""

REQUESTS_BYTES_MAX = 64 * MIB
"""Bodies of all unanswered requests of a broker. One more is answered AGAIN."""

DISPATCH_MAX = 2**31 - 1
"""Of the fence; a result beyond it is malformed."""

ID_MAX = 2**63 - 1
"""Of a bundle id or a row number (SQLite's and PostgreSQL's largest integer)."""

INSTANT_MAX = 253_402_300_799.0
"""Seconds since the epoch: the end of the year 9999, after which no instant can be shown."""

HEARTBEAT_S = 10.0
"""A daemon that said nothing else for so long says Heartbeat."""

ANSWER_S = 0.25
"""Who said something within so long does not answer a Heartbeat: it may be an answer itself."""

SILENCE_S = 30.0
"""A peer that heard nothing from its broker for so long opens a new socket."""

LEASE_S = 300.0
"""A worker not heard for so long has lost its bundles (`worker.lease`)."""

MARGIN_S = 60.0
"""A task without a time limit is neither given nor started when a worker ends within so long (`worker.margin`)."""

GRACE_LOCAL_S = 5.0
"""How long a scheduler waits for the inventories of a local cluster after a restart."""

CRASHES_MAX = 5
"""A task that was running so often when its worker died is QUARANTINED."""

RESTARTS_MAX = 10
"""Restarts of one daemon with no task finished in between; then status 3."""

RECALL_AFTER_S = 1.0
"""A task that waits in a worker for so long while another worker is idle is recalled."""

PREFETCH_S = 0.1
"""A worker asks for as many tasks as it finishes in about so long."""

STORE_WAIT_S = 60.0
"""A store that cannot be written is waited for so long; then status 3."""
