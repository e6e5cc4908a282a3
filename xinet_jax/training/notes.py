"""The lines that a run prints, as text."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax

from xinet_jax.config import Round, round_of, to_flat, varied
from xinet_jax.networks.modules import precision_on
from xinet_jax.telemetry.progress import whole
from xinet_jax.training.setup import Setup

_LISTED = 8  # members whose returns a line lists


def introduction(setup: Setup, folder: Path) -> list[str]:
    """Returns what is trained, on what, what it needs, and where it goes."""
    config, platform, cycle = setup.config, setup.mesh.devices.flat[0].platform, round_of(setup.config)
    fraction = Fraction(cycle.updates, cycle.steps)
    several = " × ".join(f"{len(to_flat(config)[name])} values of {name}" for name in varied(config))
    processes = f", shared by {jax.process_count()} processes" if jax.process_count() > 1 else ""
    devices = platform if setup.mesh.size == 1 else f"{setup.mesh.size} {platform} devices"
    first = (
        f"{config.agent} on {config.task}, {config.seeds} seed{'s' * (config.seeds > 1)}"
        + (f" for each of {several}" if several else "")
        + ("" if cycle == Round() else f", {config.envs} environments each, updates per step: {fraction}")
        + f"{processes}, {config.engine} physics on {devices}; writing to {folder}"
    )
    stop = config.pruning.prune_stop
    late = config.pruner == "theta" and stop is not None and stop > config.steps
    last = [f"prune_stop {stop:,} is after the last step: gates stay where theta leaves them"] if late else []
    precision = precision_on(jax.default_backend(), config.precision)
    if precision != config.precision:
        last.append(f"{platform} devices have no {config.precision}: matrix products are in {precision}")
    return [first, setup.memory, *last]


def evaluation(steps: int, last: int, returns: Sequence[float], parameters_left: float, rate: float | None) -> str:
    """Returns the line about an evaluation.

    Args:
      steps, last: environment steps taken, and those of the whole run.
      returns: every member's mean return.
      parameters_left: ratio to the dense networks' parameters, mean over members.
      rate: updates per second.
    """
    listed = ", ".join(map(whole, returns[:_LISTED])) + (", …" if len(returns) > _LISTED else "")
    return f"step {steps:,} of {last:,}: return {listed}; parameters left {parameters_left:.0%}" + (
        f"; {rate:.0f} updates/s" if rate else ""
    )


def compaction(steps: int, flops_left: float, seconds: float, rate_before: float, rate_after: float | None) -> str:
    """Returns the line about a compaction. Arguments: as of `Recorder.compaction`, but updates per second."""
    return (
        f"compacted at step {steps:,}: the arrays need {flops_left:.0%} of the dense FLOPs; "
        f"it took {seconds:.0f} s; {rate_before:.0f}"
        + (f" → {rate_after:.0f} updates/s" if rate_after else " updates/s before")
    )


def troubles(label: str, steps: int, entries: dict[str, Any]) -> dict[str, str]:
    """Returns a line for each trouble of a member's segment, by the entry of the metrics that counts it.

    Args:
      label: what the member is called.
      steps: environment steps at the end of the segment.
      entries: what the metrics say of it.
    """
    before = f"before step {steps:,}"
    lines = {
        "bad_transitions": f"{label}: {entries['bad_transitions']:,} transitions {before} were not finite; such are "
        "not stored, and end the episode",
        "theta_held": f"{label}: theta had gradients {before} that were not finite; such units stay as they were "
        "(theta_held in metrics)",
        "diverged": f"{label} diverged {before}: it stays as it was before, and learns nothing more",
    }
    return {trouble: line for trouble, line in lines.items() if entries.get(trouble)}
