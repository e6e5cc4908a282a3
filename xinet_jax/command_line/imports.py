"""Runs the user's own Python files, which register tasks and pruners."""

import argparse
import contextlib
import io
import runpy
import traceback
from pathlib import Path

from xinet_jax.errors import UserError, brief


def import_tasks(arguments: list[str]) -> list[str]:
    """Runs the user's own Python files that register tasks and pruners; returns the arguments without them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--import", dest="files", action="append", default=[], nargs=1)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            chosen, rest = parser.parse_known_args(arguments)
    except SystemExit:
        raise UserError("--import needs a Python file that registers tasks or pruners") from None
    for (file,) in chosen.files:
        if not Path(file).is_file():
            raise UserError(f"--import needs a Python file that registers tasks or pruners: there is no file {file}")
        try:
            runpy.run_path(file)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of whatever kind, sys.exit() too: the file is the user's
            raise UserError(f"--import {file}{_line_of(file, error)}: {reason(error)}") from None
    return rest


def _line_of(file: str, error: BaseException) -> str:
    """Returns where in a file an error arose, or nothing if that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines and lines[-1] else ""


def reason(error: BaseException) -> str:
    """Returns what an error of a user's file says, in one line."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it ends Python by sys.exit({brief(error.code, quoted=True)})"
    words = error.msg if isinstance(error, SyntaxError) else (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
