"""Making a configuration: a preset with fields overridden, checked."""

from typing import Any

from xinet_jax.config.checks import check
from xinet_jax.config.presets import override, preset_config
from xinet_jax.config.schema import Config


def make_config(task: str = "HalfCheetah-v5", preset: str = "quick", agent: str = "xinet", **overrides: Any) -> Config:
    """Returns a checked configuration: the preset for a task and an agent, with fields overridden by name.

    Args:
      task: a registered task.
      preset: one of `PRESETS`.
      agent: a key of `KINDS`.
      **overrides: any other field of `Config` or of its sections, by its own name (`steps=1000, nu=100`).

    Raises:
      UserError: for an unknown name (with the nearest match) or a value out of range.

    Examples:
      >>> config = make_config("Hopper-v5", seeds=4, nu=(100, 200))
      >>> config.seeds, config.pruning.nu, config.steps
      (4, (100, 200), 40000)
    """
    config = override(preset_config(task, preset, agent), overrides)
    check(config)
    return config
