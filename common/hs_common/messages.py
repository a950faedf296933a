"""What daemons say to each other. Values only: no sockets, no clocks, no defaults that hide.

`docs/protocol.md` is the normative text; both change in the same commit. The order of the fields of a class is their order
on the wire. Bounds are checked by `hs_common.wire` when a message is decoded, so behind it nobody checks again.

    scheduler ── SchedulerHello Submit Committed Cancel Bye ──▶ broker ── Assign Recall Cancel Committed NewEpoch ──▶ worker
              ◀─ Welcome Credit Attached Census Received Result Running Lost Refused ─        ◀─ WorkerHello Ready Received
                                                                                                 Result Running Bye ─

Every message from a peer to the broker carries the session token that Welcome gave it; every message from the broker carries
the token of the receiver, so neither a stale nor a misrouted message is ever taken for a valid one.
"""

from hs_common.message_bundles import (
    Assign,
    Attached,
    BundleHeader,
    Cancel,
    Census,
    Committed,
    Credit,
    Demand,
    Drain,
    Lost,
    NewEpoch,
    Ready,
    Recall,
    Received,
    Result,
    Running,
    Submit,
    Withdraw,
    WorkerDead,
)
from hs_common.message_requests import (
    ClientGone,
    Reply,
    Request,
)
from hs_common.message_session import (
    Bye,
    ControlHello,
    Heartbeat,
    Refused,
    SchedulerHello,
    Welcome,
    WhoAreYou,
    WorkerHello,
)

__all__ = [
    "TYPE_OF",
    "Assign",
    "Attached",
    "BundleHeader",
    "Bye",
    "Cancel",
    "Census",
    "ClientGone",
    "Committed",
    "ControlHello",
    "Credit",
    "Demand",
    "Drain",
    "Heartbeat",
    "Lost",
    "Message",
    "NewEpoch",
    "Ready",
    "Recall",
    "Received",
    "Refused",
    "Reply",
    "Request",
    "Result",
    "Running",
    "SchedulerHello",
    "Submit",
    "Welcome",
    "WhoAreYou",
    "Withdraw",
    "WorkerDead",
    "WorkerHello",
]

Message = (
    WorkerHello
    | SchedulerHello
    | ControlHello
    | Welcome
    | WhoAreYou
    | Refused
    | Ready
    | Credit
    | Submit
    | Assign
    | Received
    | Result
    | Committed
    | Running
    | Recall
    | Cancel
    | NewEpoch
    | Attached
    | Census
    | Lost
    | WorkerDead
    | Drain
    | Bye
    | Heartbeat
    | Request
    | Reply
    | ClientGone
    | Withdraw
)

TYPE_OF: dict[int, type[Message]] = {
    1: WorkerHello,
    2: SchedulerHello,
    3: ControlHello,
    4: Welcome,
    5: WhoAreYou,
    6: Refused,
    7: Ready,
    8: Credit,
    9: Submit,
    10: Assign,
    11: Received,
    12: Result,
    13: Committed,
    14: Running,
    15: Recall,
    16: Cancel,
    17: NewEpoch,
    18: Attached,
    19: Census,
    20: Lost,
    21: WorkerDead,
    22: Drain,
    23: Bye,
    24: Heartbeat,
    25: Request,
    26: Reply,
    27: ClientGone,
    28: Withdraw,
}
"""The type byte of the wire. Never reuse a number; retire it."""
