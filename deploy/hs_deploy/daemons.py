"""What `hs-cluster` starts."""

from enum import StrEnum


class Daemon(StrEnum):
    """The value is the name of the program."""

    BROKER = "hs-broker"
    SCHEDULER = "hs-scheduler"
    WORKER = "hs-worker"
