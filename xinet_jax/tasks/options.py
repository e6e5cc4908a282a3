"""Options of tasks: read from text, and checked against the signature of the task's function."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any, Literal

from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.type_hints import has_type, type_in_words

# Ranges of options by the endings of their names. Rewards and their squares must fit into float32. MuJoCo calls
# simulations unstable if positions start ten metres or radians from rest.
_LIMITS = {"reset_noise_scale": (0.0, 3.0), "_weight": (-1e9, 1e9), "_reward": (-1e9, 1e9)}
# Arguments of our functions and Gymnasium's that make environments.
_TAKEN = {"name", "id", "engine", "mjx_impl", "physics", "num_envs", "vector_kwargs", "wrappers", "disable_env_checker"}
_TAKEN |= {"render_mode", "additional_wrappers"}
_INFINITE = {"inf": math.inf, "-inf": -math.inf}  # as JSON has them, which knows no such numbers


def defaults(define: Callable[..., Any]) -> dict[str, Any]:
    """Returns the options that a function has, with their defaults: its arguments that have one."""
    parameters = inspect.signature(define).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}


def check_options(task: str, define: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    if getattr(define, "any_option", False):
        return _of_known_types(options)
    allowed = defaults(define)
    hints = typing.get_type_hints(define)
    checked = {}
    for key, value in options.items():
        if key not in allowed:
            raise unknown_name(f"option of {task}", key, allowed)
        checked[key] = _of_type(key, value, hints[key])
        _check_range(key, checked[key], may_be_infinite=allowed[key] in _INFINITE.values())
    return checked


def _of_known_types(options: dict[str, Any]) -> dict[str, Any]:
    """Returns options of which only the function itself knows the types."""

    def known(name: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(known(name, item) for item in value)
        number = _number(value)
        # A text like `module:name` may be imported by an environment, and options come with files of policies.
        if not isinstance(number, (bool, int, float, str)) or number != number or ":" in str(number):
            allowed = "a number, a name without a colon, true or false"
            raise UserError(f"task option {name} must be {allowed}, not {brief(value, quoted=True)}")
        return number

    if refused := sorted(_TAKEN & set(options)):
        raise UserError(f"{refused[0]} is no option of an environment")
    return {name: known(name, value) for name, value in options.items()}


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


def parse_options(texts: tuple[str, ...]) -> dict[str, Any]:
    """Returns options written as `name=value`; a range as `name=low,high`. Raises UserError for anything else.

    Examples:
      >>> parse_options(("ctrl_cost_weight=0.2", "healthy_z_range=0.5,1.2"))
      {'ctrl_cost_weight': 0.2, 'healthy_z_range': (0.5, 1.2)}
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        parts = [_read(part) for part in value.split(",")]
        if not separator or not name or not all(part != "" for part in parts) or name in options:
            raise UserError(f"task_options must be name=value, each name once, not {brief(text)}")
        options[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return options


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
    if hint is bool:
        valid, wanted = has_type(value, hint), type_in_words(hint)
    elif hint is float:
        valid, wanted = _is_number(value), type_in_words(hint)
    elif typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise unknown_name(f"task option {name}", value, typing.get_args(hint))
        return value
    elif is_range:
        valid, wanted = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)), "low,high"
    else:
        valid, wanted = has_type(value, int | str), "a number or a name"
    if not valid:
        raise UserError(f"task option {name} must be {wanted}, not {brief(value, quoted=True)}")
    if is_range:
        return tuple(map(float, value))
    return float(value) if hint is float else value


def _is_number(value: Any) -> bool:
    return has_type(value, float) and (abs(value) <= 1e30 or math.isinf(value))


def _number(value: Any) -> Any:
    return _INFINITE.get(value, value) if isinstance(value, str) else value


def _check_range(name: str, value: Any, may_be_infinite: bool) -> None:
    """Raises UserError for a number out of its option's range, and for a range whose ends are not in order."""
    if isinstance(value, tuple):
        if name.endswith("_range") and not value[0] < value[1]:
            low, high = value
            raise UserError(f"task option {name} must be low,high with low below high, not {low:g},{high:g}")
        return
    if not has_type(value, float):
        return
    if math.isinf(value) and not may_be_infinite:
        raise UserError(f"task option {name} must be finite, not {value}")
    for ending, (low, high) in _LIMITS.items():
        if name.endswith(ending) and not low <= value <= high:
            raise UserError(f"task option {name} must be from {low:g} to {high:g}, not {value:g}")
