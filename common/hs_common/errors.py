"""Every error that this project raises on purpose, split by whose fault it is."""

REASON_CHARS_MAX = 240
"""Of what is recorded of a task that cannot be expanded."""


class HSError(Exception):
    """Base of all errors of this project."""


class WireError(HSError):
    """A peer sent bytes that are no message of the protocol. Its fault: log, drop, go on."""


class RefusedError(HSError):
    """The user asked for something that cannot be: one line on stderr, exit status 2."""


class ExpansionError(HSError):
    """A template has no value for the args of a task. The task's fault: it is REJECTED, the others go on."""

    @property
    def reason(self) -> str:
        """What is recorded of the task."""
        return f"template: {self}"[:REASON_CHARS_MAX]


class StoppedError(HSError):
    """The run cannot go on (store lost, port taken): one line on stderr, exit status 3."""


class InvalidTransitionError(HSError):
    """Our own code asked a state machine for a forbidden step. Our fault: crash loudly."""
