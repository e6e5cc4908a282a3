"""A configuration as the command that trains it."""

import dataclasses
import shlex
from typing import Any

from xinet_jax.config.fields import to_flat
from xinet_jax.config.presets import preset_config
from xinet_jax.config.schema import Config

# What a preset is chosen by, and what does not belong to a run but to one start of it.
_CHOICES = ("task", "preset", "agent")
_OF_ONE_START = ("out", "overwrite", "resume", "devices", "distributed", "log", "report")


def differences(config: Config) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that are not the preset's, each with its value and the preset's.

    Examples:
      >>> from xinet_jax.config import make_config
      >>> differences(make_config("Hopper-v5", steps=50_000))
      {'steps': (50000, 40000)}
    """
    values, defaults = to_flat(config), to_flat(preset_config(config.task, config.preset, config.agent))
    return {
        name: (values[name], defaults[name])
        for name in values
        if name not in (*_CHOICES, *_OF_ONE_START) and values[name] != defaults[name]
    }


def train_command(config: Config) -> str:
    """Returns the command that trains a configuration, without the options that belong to one start of it.

    Examples:
      >>> from xinet_jax.config import make_config
      >>> train_command(make_config("Hopper-v5", nu=[100, 200], actor_speaks=False))
      'xinet train --task Hopper-v5 --nu 100 200 --no-actor-speaks'
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    words = ["xinet", "train"]
    for name in _CHOICES:
        value = getattr(config, name)
        words += [f"--{name}", value] if name == "task" or value != defaults[name] else []
    for name, (value, _) in differences(config).items():
        option = "from" if name == "branch_from" else name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{option}", *(str(item).removesuffix(".0") for item in values)]
    return shlex.join(words)
