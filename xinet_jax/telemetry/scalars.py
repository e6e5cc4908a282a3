"""A record of metrics as the scalars that loggers draw curves of, by the names that are usual for them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

_OF_PHASES = {
    "episode_return": "rollout/ep_rew_mean",
    "episode_length": "rollout/ep_len_mean",
    "bad_transitions": "rollout/bad_transitions",
    "auxiliary_loss": "train/auxiliary_loss",
    "critic_loss": "train/critic_loss",
    "actor_loss": "train/actor_loss",
    "temperature": "train/temperature",
    "entropy": "train/entropy",
    "action_value": "train/action_value",
    "diverged": "train/diverged",
    "parameters": "pruning/parameters",
    "parameters_left": "pruning/parameters_left",
    "ofenet_left": "pruning/ofenet_left",
    "flops": "pruning/flops",
    "theta_held": "pruning/theta_held",
    "price": "pruning/price",
    "iterations_per_second": "time/fps",
}
# The names of a record's entries as scalars, by the record's kind. Kinds are in the order that they are written in at
# the same step.
_NAMES = {
    "collect": _OF_PHASES,
    # Of OFENet alone. Nothing acts meanwhile, and an iteration is an update.
    "pretrain": {"auxiliary_loss": "pretrain/auxiliary_loss", "iterations_per_second": "pretrain/updates_per_second"},
    "train": _OF_PHASES,
    "compaction": {
        "flops_of_arrays_left": "compaction/flops_of_arrays_left",
        "compaction_seconds": "compaction/seconds",
    },
    "evaluation": {"return": "eval/return"},
    "gymnasium": {"return": "final/return"},
}
_ORDER = {kind: place for place, kind in enumerate(_NAMES)}
KINDS = len(_NAMES)


class Scalars(NamedTuple):
    """What one record of metrics says.

    Attributes:
      member: the member that it is about; None: all members of the process that wrote it.
      step: environment steps.
      order: place among what is recorded at the same step, 0 to `KINDS` - 1.
      seconds: since the start of the run, without the time between interruption and resumption [s].
      values: scalars by name, all of them finite.
    """

    member: str | None
    step: int
    order: int
    seconds: float
    values: dict[str, float]


def scalars_of(record: Mapping[str, Any]) -> Scalars | None:
    """Returns what a record of metrics says; None if it says nothing of an agent, as about a checkpoint.

    Args:
      record: as the recorder makes it, or as it is read from `metrics.jsonl`. What is not finite there is left out.

    Examples:
      >>> record = {"kind": "evaluation", "member": "seed_0", "environment_steps": 500, "seconds": 9.0, "return": 7.0}
      >>> scalars_of(record)
      Scalars(member='seed_0', step=500, order=4, seconds=9.0, values={'eval/return': 7.0})
    """
    names = _NAMES.get(record["kind"])
    if names is None:
        return None
    found = {name: record.get(entry) for entry, name in names.items()}
    if names is _OF_PHASES:
        found |= {f"pruning/units/{layer}": units for layer, units in record["units"].items()}
    values = {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}
    member, step, seconds = record.get("member"), record["environment_steps"], record["seconds"]
    return Scalars(member, step, _ORDER[record["kind"]], seconds, values)
