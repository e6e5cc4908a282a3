"""Every field of a configuration by its own name, whichever section holds it."""

import dataclasses
import typing
from typing import Any

from xinet_jax.config.schema import Config, NetworkConfig, PruningConfig, SacConfig

SECTIONS = {"networks": NetworkConfig, "sac": SacConfig, "pruning": PruningConfig}


def fields() -> dict[str, dataclasses.Field]:
    """Returns every field's declaration: those at the top, then those of the sections."""
    top = {field.name: field for field in dataclasses.fields(Config) if field.name not in SECTIONS}
    return top | {field.name: field for section in SECTIONS.values() for field in dataclasses.fields(section)}


def field_names() -> dict[str, str | None]:
    """Returns every field's name and the section that holds it (None: the top)."""
    top: dict[str, str | None] = {field.name: None for field in dataclasses.fields(Config)}
    sections = {field.name: name for name, section in SECTIONS.items() for field in dataclasses.fields(section)}
    return {name: home for name, home in (top | sections).items() if name not in SECTIONS}


def field_types() -> dict[str, Any]:
    """Returns every field's type."""
    hints = [typing.get_type_hints(section) for section in (Config, *SECTIONS.values())]
    return {name: hint for section in hints for name, hint in section.items() if name not in SECTIONS}


def to_flat(config: Config) -> dict[str, Any]:
    """Returns the values of all fields."""
    return {
        name: getattr(config if home is None else getattr(config, home), name) for name, home in field_names().items()
    }


# Hyper-parameters that may have several values, outermost loop first: leaves of `xinet_jax.agent.Hyper`, in which
# members differ.
_AXES = {name: field.metadata["axis"] for name, field in fields().items() if "axis" in field.metadata}
SWEPT = tuple(sorted(_AXES, key=_AXES.__getitem__))


def varied(config: Config) -> tuple[str, ...]:
    """Returns the hyper-parameters that have several values."""
    flat = to_flat(config)
    return tuple(name for name in SWEPT if len(flat[name] or ()) > 1)


def value_text(value: float) -> str:
    """Returns a hyper-parameter as it is written in tables and in names of folders: to six digits."""
    return f"{value:.6g}"
