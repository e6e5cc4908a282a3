"""Mistakes of the user, told in one line."""

import difflib
import reprlib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend. Its message is one line; the command line prints it and exits with 2."""

    def __init__(self, message: str):
        # What the user gave may hold line breaks, or codes that a terminal would obey.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Returns the allowed name closest to `given`, or None if nothing is close."""
    by_lower_case = {name.lower(): name for name in allowed}
    matches = difflib.get_close_matches(given.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


_SHORT = reprlib.Repr()  # does not go through all of what is nested: a few lines of YAML can stand for gigabytes
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxtuple = 2, 80, 80, 8


def brief(value: object, quoted: bool = False) -> str:
    """Returns a value as text that is short enough for a message."""
    try:
        text = value if isinstance(value, str) and not quoted else _SHORT.repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


_FEW = 12  # names of many that an error tells


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> UserError:
    """Returns the error for a name that is not one of `allowed`, with the nearest match; of many it tells a few."""
    allowed = list(allowed)
    given = brief(given)
    match = nearest(given, allowed)
    hint = f"did you mean '{match}'? " if match else ""
    if not allowed:
        return UserError(f"unknown {kind} '{given}': there is none")
    more = f" and {len(allowed) - _FEW} more" if len(allowed) > 2 * _FEW else ""
    return UserError(f"unknown {kind} '{given}': {hint}allowed: {', '.join(allowed[: _FEW if more else None])}{more}")
