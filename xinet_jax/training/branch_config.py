"""The configuration of a run that starts from a checkpoint of another: what it inherits, and what it may change.

Nothing here loads JAX, so that the command line answers mistakes at once.
"""

import dataclasses
from pathlib import Path
from typing import Any

from xinet_jax.config import Config, check, load_config, override, preset_config, to_flat
from xinet_jax.errors import UserError, brief
from xinet_jax.training.run_folder import CONFIG_FILE

# What the arrays of a checkpoint depend on, and what lies in the past by then.
FIXED = ("task", "task_options", "engine", "mjx_impl", "physics", "brax_backend", "envs", "preset", "random_steps")
FIXED += (
    "pretrain_updates",
    "normalize_observations",
    "blocks",
    "block_units",
    "actor_hidden",
    "critic_hidden",
    "widths_from",
    "uniform_widths",
)


def branch_config(run: Path | str, **changes: Any) -> Config:
    """Returns the configuration of a new run that starts from the newest checkpoint of another.

    Args:
      run: the other run's folder.
      **changes: fields to change, by their own names. The others are those of the other run; of another kind of agent
        the rules of pruning are the preset's.

    Raises:
      UserError: for a change that is not allowed.
    """
    config = override(branch_defaults(run, changes.get("agent")), changes)
    check_branch(config, load_config(Path(run) / CONFIG_FILE))
    check(config)
    return config


def branch_defaults(run: Path | str, agent: str | None) -> Config:
    """Returns what a branch inherits from a run's configuration.

    Args:
      run: the run folder.
      agent: the branch's kind of agent; None for that of the run.

    Raises:
      UserError: if the run's configuration cannot be read, or there is no such kind of agent.
    """
    source = load_config(Path(run) / CONFIG_FILE)
    config = dataclasses.replace(source, branch_from=str(run))
    if agent in (None, source.agent):
        return config
    return dataclasses.replace(config, agent=agent, pruning=preset_config(source.task, source.preset, agent).pruning)


def check_branch(config: Config, source: Config) -> Config:
    """Checks the configuration of a branch against that of the run that it starts from.

    Returns:
      The configuration, with the run's physics engine if none was chosen.

    Raises:
      UserError: names a field that may not be changed.
    """
    if config.engine == "auto":
        config = dataclasses.replace(config, engine=source.engine)
    branch, trunk = to_flat(config), to_flat(source)
    for name in FIXED:
        if branch[name] != trunk[name]:
            raise UserError(
                f"{name} is {_words(trunk[name])} in {config.branch_from} and cannot be changed to "
                f"{_words(branch[name])} in a run that starts from it"
            )
    if config.kind.extractor != source.kind.extractor:
        raise UserError(f"agent {config.agent} cannot start from agent {source.agent}: only one of them has an OFENet")
    return config


def _words(value: Any) -> str:
    return brief(" ".join(map(brief, value)) or "empty" if isinstance(value, tuple) else value)
