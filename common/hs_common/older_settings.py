"""What settings are called in older and similar tools, and here: for whoever brings a file of theirs along."""

OURS = {
    "server.port": "broker.port",
    "server.bind": "broker.bind",
    "server.bundlesize": "scheduler.bundlesize",
    "server.bundlewait": "scheduler.bundlewait",
    "server.wait": "scheduler.bundlewait",
    "server.attempts": "scheduler.max_retries",
    "server.max_retries": "scheduler.max_retries",
    "server.eager": "scheduler.eager",
    "client.num_tasks": "worker.num_tasks",
    "client.template": "worker.template",
    "client.timeout": "worker.timeout",
    "client.task_timeout": "worker.task_timeout",
    "client.delay_start": "worker.delay_start",
    "client.bundlesize": "scheduler.bundlesize",
    "client.bundlewait": "scheduler.bundlewait",
    "task.timeout": "worker.task_timeout",
    "autoscale.launcher": "launcher",
    "logging.style": "logging.format",
}
"""Theirs -> ours, of the same meaning."""

SECTIONS = frozenset(name.partition(".")[0] for name in OURS)


def advice(name: str) -> str:
    """Return what to add behind the name of an unknown setting: which of ours is meant, if one is."""
    return f": use {OURS[name]}" if name in OURS else ""


def of_variable(variable: str) -> str:
    """Return the name of the setting that a variable would be for, `HYPERSHELL_` and all."""
    section, _, key = variable.removeprefix("HYPERSHELL_").lower().partition("_")
    return f"{section}.{key}"
