"""Options of tasks: read from text, and checked against the function that they are arguments of."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any, Literal

from xinet_jax.errors import UserError, brief, unknown_name

# From where to where options with such endings go. Rewards and their squares must fit into float32; where positions
# start ten metres or radians from rest, MuJoCo calls simulations unstable.
_LIMITS = {"reset_noise_scale": (0.0, 3.0), "_weight": (-1e9, 1e9), "_reward": (-1e9, 1e9)}
_INFINITE = {"inf": math.inf, "-inf": -math.inf}  # as JSON has them, which knows no such numbers


def defaults(define: Callable[..., Any]) -> dict[str, Any]:
    """Returns the options that a function has, with their defaults: its arguments that have one."""
    parameters = inspect.signature(define).parameters.items()
    return {key: own.default for key, own in parameters if own.default is not inspect.Parameter.empty}


def check_options(task: str, define: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    allowed = defaults(define)
    hints = typing.get_type_hints(define)
    checked = {}
    for key, value in options.items():
        if key not in allowed:
            raise unknown_name(f"option of {task}", key, allowed)
        checked[key] = _of_type(key, value, hints[key])
        _check_range(key, checked[key], may_be_infinite=allowed[key] in _INFINITE.values())
    return checked


def as_json(options: dict[str, Any]) -> dict[str, Any]:
    """Returns options as JSON can have them: infinite numbers as the texts "inf" and "-inf".

    `check_options` takes the texts for the numbers.
    """

    def encode(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [encode(item) for item in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    return {name: encode(value) for name, value in options.items()}


def options_text(options: dict[str, Any]) -> str:
    """Returns options as `--task-options` takes them."""

    def text(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return ",".join(map(text, value))
        return str(value).lower() if isinstance(value, bool) else str(value)

    return " ".join(f"{name}={text(value)}" for name, value in options.items())


def parse_options(given: tuple[str, ...]) -> dict[str, Any]:
    """Returns options written as `name=value`; a range as `name=low,high`. Raises UserError for anything else."""
    found: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        parts = [_read(part) for part in value.split(",")]
        if not separator or not name or not all(part != "" for part in parts) or name in found:
            raise UserError(f"task_options must be name=value, each name once, not {brief(text)}")
        found[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return found


def _read(text: str) -> bool | int | float | str:
    """Returns the value that a text stands for; itself if nothing else."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _of_type(name: str, value: Any, hint: Any) -> Any:
    """Returns a value as its option's type has it: lists as tuples, texts of infinite numbers as such."""
    is_range = typing.get_origin(hint) is tuple
    if is_range and isinstance(value, (list, tuple)):
        value = tuple(map(_number, value))
    elif hint is float:
        value = _number(value)
    is_number = lambda item: type(item) in (int, float) and (abs(item) <= 1e30 or abs(item) == math.inf)  # noqa: E731
    if hint is bool:
        valid, wanted = isinstance(value, bool), "true or false"
    elif hint is float:
        valid, wanted = is_number(value), "a number"
    elif typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise unknown_name(f"task option {name}", value, typing.get_args(hint))
        return value
    elif is_range:
        valid, wanted = isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value)), "low,high"
    else:
        valid, wanted = type(value) in (int, str), "a number or a name"
    if not valid:
        raise UserError(f"task option {name} must be {wanted}, not {brief(value, quoted=True)}")
    if is_range:
        return tuple(map(float, value))
    return float(value) if hint is float else value


def _number(value: Any) -> Any:
    return _INFINITE.get(value, value) if isinstance(value, str) else value


def _check_range(name: str, value: Any, may_be_infinite: bool) -> None:
    """Raises UserError for a number out of its option's range, and for a range whose ends are not in order."""
    if isinstance(value, tuple):
        if name.endswith("_range") and not value[0] < value[1]:
            low, high = value
            raise UserError(f"task option {name} must be low,high with low below high, not {low:g},{high:g}")
        return
    if type(value) not in (int, float):
        return
    if math.isinf(value) and not may_be_infinite:
        raise UserError(f"task option {name} must be finite, not {value}")
    for ending, (low, high) in _LIMITS.items():
        if name.endswith(ending) and not low <= value <= high:
            raise UserError(f"task option {name} must be from {low:g} to {high:g}, not {value:g}")
