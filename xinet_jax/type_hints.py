"""Checks values from outside, such as options and files, against type hints."""

import types
import typing
from typing import Any

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def has_type(value: Any, hint: Any) -> bool:
    """Returns whether a value has a type. NaN, True and False are no numbers."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(has_type(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(has_type(item, arguments[0]) for item in value)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # not NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def type_in_words(hint: Any) -> str:
    """Returns a type in words, for messages."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(type_in_words, arguments))
    if origin is tuple:
        return f"a list, each item {type_in_words(arguments[0])}"
    return _WORDS[hint]


def takes_numbers(hint: Any) -> bool:
    """Returns whether a number has the type, or a list of numbers."""
    return hint in (int, float) or any(map(takes_numbers, typing.get_args(hint)))
