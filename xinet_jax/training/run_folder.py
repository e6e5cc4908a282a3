"""The folder that a run writes to: chosen, claimed, and cleared of an older run, but never of anything else."""

import os
import re
import shutil
from pathlib import Path

from xinet_jax.config import Config, load_config
from xinet_jax.errors import UserError

CONFIG_FILE, METRICS_FILE, POLICY_FOLDER = "config.yaml", "metrics.jsonl", "policy"
TRADE_OFF_TABLE, TRADE_OFF_FIGURE = "trade_off.csv", "trade_off.png"
STOP_FILE = "stopping"  # while a run of several processes ends early
_FILES = (CONFIG_FILE, METRICS_FILE, TRADE_OFF_TABLE, TRADE_OFF_FIGURE, STOP_FILE)
_OTHER_METRICS = re.compile(r"metrics-\d+\.jsonl")


def claim_run_folder(config: Config) -> Path:
    """Makes the run folder and returns it. Of runs started at the same time, only one gets a folder.

    Raises:
      UserError: if the folder exists and may not be written to.
    """
    while True:
        folder = choose_run_folder(config)
        try:
            make_run_folder(folder, config.overwrite)
            return folder
        except FileExistsError:  # taken since it was chosen: the next look says so, or finds another name
            continue


def choose_run_folder(config: Config) -> Path:
    """Returns the folder to write to, and refuses one that may not be written to.

    A folder that the user named must be new, or hold nothing but a run that may be overwritten. A name of our own
    choice is numbered until it is new.
    """
    folder = config.run_folder
    if "\0" in str(folder):
        raise UserError("cannot write to run folder: its name holds a null character")
    try:
        if config.out is None and not config.overwrite:
            number = 1
            while os.path.lexists(folder):
                number += 1
                folder = config.run_folder.with_name(f"{config.run_folder.name}-{number}")
        if not os.path.lexists(folder):
            return folder
        if not config.overwrite:
            raise UserError(f"run folder {folder} exists: choose another with --out, or give --overwrite")
        content = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    except OSError as error:
        raise _cannot_write(folder, error) from None
    strange = {name for name in content - {*_FILES, POLICY_FOLDER} if not _OTHER_METRICS.fullmatch(name)}
    if strange or (content and CONFIG_FILE not in content):
        what = f"it holds {sorted(strange)[0]}" if strange else f"it has no {CONFIG_FILE}"
        raise UserError(f"{folder} is not a run folder ({what}): it will not be overwritten")
    if content:
        load_config(folder / CONFIG_FILE)
    return folder


def make_run_folder(folder: Path, overwrite: bool) -> None:
    """Makes the folder; of a run that is overwritten, removes what that run wrote and nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=overwrite)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        for path in _other_metrics(folder):
            path.unlink()
        if (folder / POLICY_FOLDER).exists():
            shutil.rmtree(folder / POLICY_FOLDER)
    except FileExistsError:
        raise
    except OSError as error:
        raise _cannot_write(folder, error) from None


def own_metrics_file(process: int) -> str:
    """Returns the name of the file that a process writes its metrics to."""
    return METRICS_FILE if process == 0 else f"metrics-{process}.jsonl"


def merge_metrics(folder: Path) -> None:
    """Moves the other processes' metrics to the end of the first one's."""
    for path in _other_metrics(folder):
        with (folder / METRICS_FILE).open("a") as file:
            file.write(path.read_text())
        path.unlink()


def _other_metrics(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _OTHER_METRICS.fullmatch(path.name))


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to run folder {str(folder)[:200]}: {error.strerror}")
