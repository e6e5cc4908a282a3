"""`xinet report`: one HTML page about runs."""

import os
from pathlib import Path

from rich.markup import escape

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import ReportArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.errors import UserError, brief


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(ReportArguments, arguments, "xinet report")
    if not options.runs:
        raise UserError("report needs one or more run folders: xinet report RUN [RUN ...]")
    path = Path(options.out)
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: choose a file with --out")
    if os.path.lexists(path) and not options.overwrite:
        raise UserError(f"{path} exists: choose another with --out, or give --overwrite")
    from xinet_jax.report.record import read_run
    from xinet_jax.report.writing import write_report

    runs = [read_run(Path(folder)) for folder in dict.fromkeys(options.runs)]
    try:
        write_report(runs, path)
    except OSError as error:
        raise UserError(f"cannot write {brief(options.out)}: {error.strerror}") from None
    console().print(f"Report: {escape(str(path))}", highlight=False, soft_wrap=True)
    return 0
