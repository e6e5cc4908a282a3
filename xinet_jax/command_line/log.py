"""`xinet log`: makes a run's curves from its metrics."""

import contextlib
from pathlib import Path
from typing import Any

from rich.markup import escape

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import LogArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import load_libraries
from xinet_jax.config import load_config
from xinet_jax.errors import UserError, first_line, unknown_name
from xinet_jax.telemetry.json_lines import read_json_lines
from xinet_jax.telemetry.sinks import SINK_FOLDERS, Curves, chosen_sinks, draw, open_sink
from xinet_jax.training.run_folder import CONFIG_FILE, lock, metrics_files


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(LogArguments, arguments, "xinet log")
    for name in options.to:
        if name not in SINK_FOLDERS:
            raise unknown_name("log", name, SINK_FOLDERS)
    if not options.to:
        raise UserError(f"to must be one or more of {', '.join(SINK_FOLDERS)}, not empty")
    folder, sinks = Path(options.path), chosen_sinks(options.to)
    config = load_config(folder / CONFIG_FILE)
    load_libraries()
    from xinet_jax.training.members import identities, settings_of

    settings = {identity.folder: settings_of(config, identity) for identity in identities(config)}
    with contextlib.closing(lock(folder)):
        for file in metrics_files(folder):  # of each process of the run, which has members of its own
            records = list(read_json_lines(file)) if file.exists() else []
            if not records:
                raise UserError(f"{file} has no metrics yet")
            for number, record in enumerate(records, 1):
                if not _is_metrics(record):
                    raise UserError(f"cannot read {file}: record {number} is not one of metrics")
            members = {record["member"] for record in records if "member" in record}
            seconds = max(record.get("seconds", 0.0) for record in records)
            if not members <= settings.keys():
                raise UserError(f"{file} has members that the run's configuration has not")
            began = file.stat().st_mtime - seconds
            curves = Curves(folder, {name: values for name, values in settings.items() if name in members}, began)
            for name in sinks:
                try:
                    with contextlib.closing(open_sink(name, curves)) as sink:
                        draw(sink, curves, records)
                except Exception as error:  # of whatever kind: the logger's, the service's, the disk's
                    raise UserError(f"cannot log to {name}: {first_line(error)}") from None
    for name in sinks:
        console().print(f"Curves: {escape(str(folder / name))}", highlight=False, soft_wrap=True)
    return 0


def _is_metrics(record: Any) -> bool:
    """Returns whether a record is an object with a kind, and a member and seconds of their types if it has them."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return False
    seconds = record.get("seconds", 0.0)
    return isinstance(record.get("member", ""), str) and isinstance(seconds, float | int) and abs(seconds) < 1e12
