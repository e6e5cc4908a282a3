"""Errors that users can correct, in one line each."""

import difflib
import reprlib
from collections.abc import Iterable


class UserError(ValueError):
    """An error that the user can correct. Its message is one line; the command line prints it and exits with 2."""

    def __init__(self, message: str):
        # Input in the message may contain line breaks, or control codes for a terminal.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Returns the allowed name closest to `name`, or None if none is close.

    Examples:
      >>> nearest("halfcheeta-v5", ["HalfCheetah-v5", "Hopper-v5"])
      'HalfCheetah-v5'
    """
    by_lower_case = {name.lower(): name for name in allowed}
    matches = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


_SHORT = reprlib.Repr()  # stops early in nested values: a few lines of YAML can stand for gigabytes
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxtuple = 2, 80, 80, 8


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, at most 200 characters; its type if it has no message."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def brief(value: object, quoted: bool = False) -> str:
    """Returns a value as text that is short enough for a message."""
    try:
        text = value if isinstance(value, str) and not quoted else _SHORT.repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


_FEW = 12  # names that an error lists if there are many


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> UserError:
    """Returns the error for a name that is not allowed, with the nearest match and (some of) the allowed names."""
    allowed = list(allowed)
    name = brief(name)
    match = nearest(name, allowed)
    hint = f"did you mean '{match}'? " if match else ""
    if not allowed:
        return UserError(f"unknown {kind} '{name}': there is none")
    more = f" and {len(allowed) - _FEW} more" if len(allowed) > 2 * _FEW else ""
    return UserError(f"unknown {kind} '{name}': {hint}allowed: {', '.join(allowed[: _FEW if more else None])}{more}")
