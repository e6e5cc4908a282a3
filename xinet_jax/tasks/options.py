"""Options of tasks: read from text, and checked against the function that they are arguments of."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any, Literal

from xinet_jax.errors import UserError, brief, unknown_name


def defaults(define: Callable[..., Any]) -> dict[str, Any]:
    """Returns the options that a function has, with their defaults: its arguments that have one."""
    parameters = inspect.signature(define).parameters.items()
    return {key: own.default for key, own in parameters if own.default is not inspect.Parameter.empty}


def check_options(task: str, define: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    allowed = defaults(define)
    hints = typing.get_type_hints(define)
    found = {}
    for key, value in options.items():
        if key not in allowed:
            raise unknown_name(f"option of {task}", key, allowed)
        found[key] = _checked(key, value, hints[key])
    return found


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


def _checked(name: str, value: Any, hint: Any) -> Any:
    is_number = lambda item: type(item) in (int, float) and (abs(item) <= 1e30 or abs(item) == math.inf)  # noqa: E731
    if hint is bool:
        valid, wanted = isinstance(value, bool), "true or false"
    elif hint is float:
        valid, wanted = is_number(value), "a number"
    elif typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise unknown_name(f"task option {name}", value, typing.get_args(hint))
        return value
    elif typing.get_origin(hint) is tuple:
        valid, wanted = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value)), "low,high"
    else:
        valid, wanted = type(value) in (int, str), "a number or a name"
    if not valid:
        raise UserError(f"task option {name} must be {wanted}, not {brief(value, quoted=True)}")
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else value
