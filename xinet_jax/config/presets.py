"""Presets: the defaults of all fields for a task and an agent."""

import dataclasses
from typing import Any

from xinet_jax.config.fields import SECTIONS, SWEPT, field_names
from xinet_jax.config.kinds import KINDS
from xinet_jax.config.names import PRESETS
from xinet_jax.config.schema import Config
from xinet_jax.errors import unknown_name
from xinet_jax.tasks.registry import check_name

# Ota et al. 2020, but for the pruning schedule, which is ours.
_PAPER = {
    "steps": 1_000_000,
    "random_steps": 10_000,
    "pretrain_updates": 10_000,
    "eval_every": 10_000,
    "checkpoint_every": 50_000,
    "eval_episodes": 10,
    "actor_hidden": (256, 256),
    "critic_hidden": (256, 256),
    "prune_start": 50_000,
    "prune_ramp": 50_000,
    "prune_stop": 200_000,
}
# Many environments, with about as many updates as the preset quick and eight times as many steps. Ours.
_MANY_ENVS = {
    "envs": 32,
    "update_ratio": "1/8",
    "batch_size": 512,
    "learning_rate": 1e-3,
    "steps": 320_000,
    "random_steps": 6_400,
    "eval_every": 40_000,
    "log_every": 8_000,
    "checkpoint_every": 40_000,
    "prune_start": 80_000,
    "prune_ramp": 40_000,
    "prune_stop": 160_000,
}
# Larger extractors and heads, which Ota et al. 2021 (arXiv 2102.07920) found to learn better. The blocks of a branch
# add 2048 units in all; how these and the heads are divided is ours.
_WIDE = _PAPER | {"blocks": 8, "block_units": 256, "actor_hidden": (512, 512), "critic_hidden": (1024, 1024)}
# SAC of MuJoCo Playground for the DeepMind Control Suite (its config/dm_control_suite_params.py), but for the
# extractor, the schedules, its critics' layer normalisation and its target entropy.
_PLAYGROUND = _PAPER | {
    "envs": 128,
    "update_ratio": "1/16",
    "batch_size": 512,
    "learning_rate": 1e-3,
    "normalize_observations": True,
    "replay_capacity": 4 * 2**20,
    "steps": 5_000_000,
    "random_steps": 8_192,
    "eval_every": 500_000,
    "log_every": 50_000,
    "checkpoint_every": 500_000,
    "prune_start": 500_000,
    "prune_ramp": 500_000,
    "prune_stop": 2_000_000,
}
_PRESETS = {"quick": {}, "many-envs": _MANY_ENVS, "paper": _PAPER, "wide": _WIDE, "playground": _PLAYGROUND}
# OFENet's published widths: blocks per branch, and units a block so that a branch adds 240 (Ota et al. 2020; Humanoid's
# are in the authors' code, github.com/merlresearch/OFENet, gins/Humanoid.gin).
_PAPER_BLOCKS = {"HalfCheetah-v5": (8, 30), "Humanoid-v5": (8, 30)}
_PAPER_BLOCKS_ELSEWHERE = (6, 40)


def preset_config(task: str, preset: str, agent: str) -> Config:
    """Returns the defaults that a preset stands for. Raises UserError for unknown names."""
    check_name(task)
    for kind, name, allowed in (("preset", preset, PRESETS), ("agent", agent, tuple(KINDS))):
        if name not in allowed:
            raise unknown_name(kind, name, allowed)
    config = Config(task=task, preset=preset, agent=agent)
    settings = dict(_PRESETS[preset])
    if preset in ("paper", "playground"):
        settings["blocks"], settings["block_units"] = _PAPER_BLOCKS.get(task, _PAPER_BLOCKS_ELSEWHERE)
    return override(config, settings)


def override(config: Config, overrides: dict[str, Any]) -> Config:
    """Returns the configuration with some fields replaced, by flat names. Raises UserError for an unknown field.

    Lists become tuples, and a number that may have several values becomes a tuple of one.
    """
    homes = field_names()
    changes: dict[str | None, dict[str, Any]] = {home: {} for home in (None, *SECTIONS)}
    for name, value in overrides.items():
        if name not in homes:
            raise unknown_name("field", name, homes)
        value = tuple(value) if isinstance(value, list) else value
        if name in SWEPT and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = (value,)
        changes[homes[name]][name] = value
    sections = {name: dataclasses.replace(getattr(config, name), **changes[name]) for name in SECTIONS}
    return dataclasses.replace(config, **changes[None], **sections)
