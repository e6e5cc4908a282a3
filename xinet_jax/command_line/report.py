"""The command `xinet report`."""

import os
from collections.abc import Sequence
from pathlib import Path

from xinet_jax.errors import UserError, brief
from xinet_jax.report.record import read_run
from xinet_jax.report.writing import write_report


def report(folders: Sequence[str], out: str, overwrite: bool) -> Path:
    """Writes the report of some runs, and returns its path.

    Raises:
      UserError: for no folder, one that is no run or has no metrics, or a file that may not or cannot be written.
    """
    if not folders:
        raise UserError("report needs one or more run folders: xinet report RUN [RUN ...]")
    path = Path(out)
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: choose a file with --out")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} exists: choose another with --out, or give --overwrite")
    runs = [read_run(Path(folder)) for folder in dict.fromkeys(folders)]
    try:
        write_report(runs, path)
    except OSError as error:
        raise UserError(f"cannot write {brief(out)}: {error.strerror}") from None
    return path
