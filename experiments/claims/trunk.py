"""What arms that prune have in common: until the first unit can fall they do the same, so it is trained once a task.

A trunk is a run that ends before pruning starts. A branch is a run that starts from the trunk's end
(`xinet train --from`), by its own configuration. It comes to the same as a run from scratch but for rounding, in which
programs of different agents differ.
"""

import dataclasses
from pathlib import Path

from xinet_jax.config import Config, PruningConfig, load_config, to_flat
from xinet_jax.errors import UserError
from xinet_jax.training.branch_config import check_branch
from xinet_jax.training.checkpoints import candidates
from xinet_jax.training.run_folder import CONFIG_FILE, checkpoint_folder

# What may differ, beside all about pruning: nothing that was learnt until then depends on it.
_RUN = ("agent", "steps", "seeds", "first_seed", "final_episodes", "checkpoint_every", "checkpoint_keep", "devices")
_LATER = {*_RUN, "out", "overwrite", "branch_from", *(field.name for field in dataclasses.fields(PruningConfig))}


def is_trained(trunk: Path, steps: int) -> bool:
    """Returns whether a trunk has come to its end, where branches start."""
    return _steps(trunk) == steps


def check_same(trunk: Path, config: Config) -> None:
    """Checks that a branch comes to what a run from scratch does.

    Args:
      trunk: the trunk's run folder.
      config: the branch's configuration.

    Raises:
      UserError: if the two differ in what was learnt already, or the trunk has come to where the branch prunes.
    """
    source = load_config(trunk / CONFIG_FILE)
    config = check_branch(config, source)
    before, now = to_flat(source), to_flat(config)
    differences = sorted(name for name in before if before[name] != now[name] and name not in _LATER)
    if source.gated != config.gated:
        differences.append("gated")
    if differences:
        raise UserError(f"the branch would not be a run from scratch: {trunk} differs in {', '.join(differences)}")
    steps = _steps(trunk)
    if steps is None or steps >= config.pruning.prune_start:
        raise UserError(f"{trunk} has come to step {steps}, and the branch prunes from {config.pruning.prune_start}")


def _steps(trunk: Path) -> int | None:
    """Returns the environment steps of a trunk's newest checkpoint; None if it has none."""
    return next((int(path.name) for path in candidates(checkpoint_folder(trunk, 0, 1))), None)
