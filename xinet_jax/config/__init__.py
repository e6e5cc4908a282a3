"""Every setting of a run: frozen dataclasses with presets, checks, and a YAML form."""

from xinet_jax.config.checks import CHANGEABLE, check, check_resumed
from xinet_jax.config.fields import SWEPT, field_names, field_types, to_flat, value_text, varied
from xinet_jax.config.files import load_config, read_config, save_config
from xinet_jax.config.kinds import KINDS, AgentKind
from xinet_jax.config.making import make_config
from xinet_jax.config.names import COMPACT, NETWORKS, PRESETS, WEIGHTS_SEE
from xinet_jax.config.presets import override, preset_config
from xinet_jax.config.rounds import Round, in_whole_rounds, round_of
from xinet_jax.config.schema import Config, NetworkConfig, PruningConfig, SacConfig
from xinet_jax.config.task_options import options_of_task

__all__ = [
    "CHANGEABLE",
    "COMPACT",
    "KINDS",
    "NETWORKS",
    "PRESETS",
    "SWEPT",
    "WEIGHTS_SEE",
    "AgentKind",
    "Config",
    "NetworkConfig",
    "PruningConfig",
    "Round",
    "SacConfig",
    "check",
    "check_resumed",
    "field_names",
    "field_types",
    "in_whole_rounds",
    "load_config",
    "make_config",
    "options_of_task",
    "override",
    "preset_config",
    "read_config",
    "round_of",
    "save_config",
    "to_flat",
    "value_text",
    "varied",
]
