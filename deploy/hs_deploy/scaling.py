"""How the cluster is to be scaled: what was typed, and the settings. Checked before anything starts."""

from collections.abc import Mapping
from typing import Any

from hs_common.config import KEYS, Settings
from hs_common.errors import RefusedError
from hs_common.setting import parse_option
from hs_deploy.launchers.autoscale import DYNAMIC, Policy

_SIZES = {"factor": "-F", "period": "-P", "init_size": "-I", "min_size": "-X", "max_size": "-Y"}
ONLY_SCALED = {**_SIZES, "timeout": "-T"}
"""Parameters that mean nothing without -A, and how they are typed."""

_OF_OTHERS = {"-P": "; tasks at a time are -N", "-I": "; in -t CMD a {} stands for the line"}
"""What xargs means by them -> ours."""


def policy_of(typed: Mapping[str, Any], settings: Settings) -> Policy | None:
    """Return what was asked for; None: the cluster is not scaled.

    Raises:
        RefusedError: A value that makes no sense, or an option that is for scaled clusters only.

    """
    if typed["autoscaling"] is None:
        for name, option in ONLY_SCALED.items():
            if typed[name] is not None:
                ours = _OF_OTHERS.get(option, "")
                raise RefusedError(f"{option} {typed[name]}: is for a cluster that is scaled: give -A too{ours}")
        return None
    mode = KEYS["autoscale.policy"]
    # Blank: -A without a value. Empty is a variable that is not set.
    asked: Any = typed["autoscaling"].strip() or (settings.get(mode.name) if typed["autoscaling"] else "")
    if asked not in mode.choices:
        raise RefusedError(
            f"-A {asked or repr(asked)}: is none of {', '.join(mode.choices)}; put FILE first, or --autoscaling={mode.choices[0]}"
        )
    numbers: dict[str, Any] = {}
    for name, option in _SIZES.items():
        key = KEYS[f"autoscale.{name}"]
        numbers[name] = settings.get(key.name) if typed[name] is None else parse_option(key, typed[name], option)
    numbers["period_s"] = numbers.pop("period")
    policy = Policy(mode=asked, **numbers)
    for option, size in (("-I", policy.init_size), ("-X", policy.min_size)):
        if asked == DYNAMIC and size > policy.max_size:
            raise RefusedError(f"{option} {size} is more than -Y {policy.max_size}: raise -Y (--max-size)")
    return policy
