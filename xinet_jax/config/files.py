"""Configurations as YAML files."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

from xinet_jax.atomic import replacing
from xinet_jax.config.fields import SECTIONS, SWEPT, field_names, field_types
from xinet_jax.config.making import make_config
from xinet_jax.config.schema import Config
from xinet_jax.errors import UserError, brief, first_line, unknown_name
from xinet_jax.type_hints import takes_numbers

_EXPONENTIAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", re.ASCII)


def save_config(config: Config, path: Path) -> None:
    """Writes the configuration as YAML, section by section."""
    nested = dataclasses.asdict(config)
    plain = {key: _plain(value) for key, value in nested.items()}
    with replacing(path) as aside:  # a run that is killed here still has its configuration
        aside.write_text(yaml.safe_dump(plain, sort_keys=False))


def load_config(path: Path | str) -> Config:
    """Reads and checks a configuration that `save_config` wrote. Fields that are missing are the preset's.

    Raises:
      UserError: if the file is missing, is not such a YAML file, or holds a field or value that is not allowed.
    """
    fields = read_config(path)
    try:
        return make_config(**fields)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_config(path: Path | str) -> dict[str, Any]:
    """Reads the fields of a configuration that `save_config` wrote, by their own names. Their values are not checked.

    Raises:
      UserError: if the file is missing, is not such a YAML file, or holds another field.
    """
    path = Path(path)
    try:
        nested = yaml.safe_load(path.read_bytes())  # as UTF-8, wherever it is read
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"cannot read configuration {path}: {first_line(error)}") from None
    if not isinstance(nested, dict) or not all(isinstance(key, str) for key in nested):
        raise UserError(f"{path} is no configuration: it must be a mapping from field names to values")
    homes, hints, flat = field_names(), field_types(), {}
    for name, value in nested.items():
        section = name if name in SECTIONS and isinstance(value, dict) else None
        for key, item in (value if section else {name: value}).items():
            if key in homes and homes[key] != section:
                raise UserError(f"{path}: field {brief(key)} belongs {_place(homes[key])}, not {_place(section)}")
            if key not in homes:
                raise UserError(f"{path}: {unknown_name('field', key, homes)}")
            flat[key] = _as_number(item) if takes_numbers(hints[key]) else item
    return flat


def _as_number(value: Any) -> Any:
    """Returns the numbers that texts stand for, in a list too. YAML 1.1 reads 3e-4 as a text, and 3.0e-4 as a number.

    Lists within lists stay as they are: no field takes them, and a few lines of YAML can nest billions of values.
    """
    items = value if isinstance(value, list) else [value]
    read = [float(item) if isinstance(item, str) and _EXPONENTIAL.fullmatch(item) else item for item in items]
    return read if isinstance(value, list) else read[0]


def _place(section: str | None) -> str:
    return f"into section {section}" if section else "to the top"


def _plain(value: Any) -> Any:
    """Returns a value, or a section, as YAML has it: tuples as lists."""
    if isinstance(value, dict):
        return {key: _plain(_alone(key, item)) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _alone(name: str, value: Any) -> Any:
    """Returns the one value of a hyper-parameter that has only one."""
    return value[0] if name in SWEPT and isinstance(value, tuple) and len(value) == 1 else value
