"""Text on a terminal, in a file or in a pipe, whatever characters its encoding has."""

import codecs
import contextlib
import io
from typing import Any

from rich.console import Console
from rich.text import Text

# What stands in for characters that an encoding lacks; for others, their codes.
_ASCII = {"→": "->", "±": "+/-", "…": "...", "·": "-", "×": "x", "ν": "nu", "–": "-", "—": "-", "“": '"', "”": '"'}
_ASCII |= {"‘": "'", "’": "'", "━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|"}
_ERRORS = "xinet_jax.ascii"


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """Returns what is written for the first character that cannot be, and where to go on (`codecs.register_error`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    after = error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text
        return bytes([ord(character) - 0xDC00]), after
    return _ASCII.get(character, character.encode("ascii", "backslashreplace").decode()), after


codecs.register_error(_ERRORS, _stand_in)


def never_raise(stream: object) -> None:
    """Makes a text stream write something in ASCII for characters that its encoding lacks, in place of an error.

    Args:
      stream: such as `sys.stdout`. What is no text file of Python, such as None, stays as it is.
    """
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(ValueError, OSError):  # closed, or a full disk
            stream.reconfigure(errors=_ERRORS)


class FittingConsole(Console):
    """A rich console that lays out the characters which its file can hold, so that columns stay straight.

    Args:
      **options: rich's.
    """

    def __init__(self, **options: Any):
        super().__init__(**{"emoji": False, **options})  # a path may hold what rich takes for the name of an emoji
        never_raise(self.file)

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns the text of a cell, a title or a line, in characters that the file can hold."""
        fitting = text.encode(self.encoding, _ERRORS).decode(self.encoding, "surrogateescape")
        return super().render_str(fitting, **options)
