"""The folder that a run writes to: chosen, claimed, and cleared of an older run, but never of anything else."""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from xinet_jax.config import Config, read_config
from xinet_jax.errors import UserError
from xinet_jax.telemetry.sinks import SINK_FOLDERS

CONFIG_FILE, METRICS_FILE, POLICY_FOLDER = "config.yaml", "metrics.jsonl", "policy"
TRADE_OFF_TABLE, TRADE_OFF_FIGURE = "trade_off.csv", "trade_off.png"
STARTS_FILE = "starts.jsonl"  # what each start of the run ran with
REPORT_FILE = "report.html"
STOP_FILE = "stopping"  # while a run of several processes ends early
ENVIRONMENT_ERROR_FILE = "environment_error.txt"
LOCK_FILE = "lock"  # held by the process that writes to the folder
CHECKPOINT_FOLDER = "checkpoints"
_FILES = (CONFIG_FILE, METRICS_FILE, TRADE_OFF_TABLE, TRADE_OFF_FIGURE, STOP_FILE, f"{CONFIG_FILE}.new")
_FILES += (ENVIRONMENT_ERROR_FILE, STARTS_FILE, REPORT_FILE, f"{REPORT_FILE}.new")
_FOLDERS = (POLICY_FOLDER, CHECKPOINT_FOLDER, *SINK_FOLDERS)
_LOOKS, _LOOK_SECONDS = 5, 0.05  # tries to lock a folder, since `is_held` locks it for a moment
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

    A folder that the user named must be new, or hold nothing but a run that may be overwritten. The name that is chosen
    where there is none is numbered until it is new.
    """
    folder = config.run_folder
    if "\0" in str(folder):
        raise UserError("cannot write to run folder: its name holds a null character")
    with writing_to(folder):
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
    known = {*_FILES, *_FOLDERS, LOCK_FILE}
    foreign = {name for name in content - known if not _OTHER_METRICS.fullmatch(name)}
    begun = folder.is_dir() and content <= {LOCK_FILE, f"{CONFIG_FILE}.new"}  # by a run that was killed at once
    if foreign or not (begun or CONFIG_FILE in content):
        what = f"it holds {sorted(foreign)[0]}" if foreign else f"it has no {CONFIG_FILE}"
        raise UserError(f"{folder} is not a run folder ({what}): it will not be overwritten")
    if not begun:
        read_config(folder / CONFIG_FILE)
    return folder


def make_run_folder(folder: Path, overwrite: bool) -> None:
    """Makes the folder; of a run that is overwritten, removes what that run wrote and nothing else.

    Raises:
      FileExistsError: if the folder exists and is not to be overwritten.
      UserError: if it cannot be written to.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=overwrite)
        lock(folder).close()  # what another process writes to is not to be cleared
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        remove_other_metrics(folder)
        for name in _FOLDERS:
            if (folder / name).exists():
                shutil.rmtree(folder / name)


def lock(folder: Path) -> IO[bytes]:
    """Holds a run folder until the file that is returned is closed, or the process ends, however it does.

    Raises:
      UserError: if another process holds it.
    """
    with writing_to(folder):
        file = (folder / LOCK_FILE).open("ab")
    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(_LOOK_SECONDS)
    file.close()
    raise UserError(f"run folder {folder} is in use: another process trains in it")


def is_held(folder: Path) -> bool:
    """Returns whether a process is training in a run folder. It looks by holding a shared lock for a moment."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:  # no such file, or none that may be read
        return False


def state_of(folder: Path, finished: bool) -> str:
    """Returns `running` if a process holds the run folder; else `finished`, or `interrupted` if it is not finished."""
    return "running" if is_held(folder) else "finished" if finished else "interrupted"


def checkpoint_folder(folder: Path, process: int, count: int) -> Path:
    """Returns where one process of `count` keeps its checkpoints."""
    return folder / CHECKPOINT_FOLDER / ("all" if count == 1 else f"process_{process}_of_{count}")


def metrics_file(process: int) -> str:
    """Returns the name of the file that a process writes its metrics to."""
    return METRICS_FILE if process == 0 else f"metrics-{process}.jsonl"


def metrics_files(folder: Path) -> list[Path]:
    """Returns the files of metrics, one for each process of the run."""
    return [folder / METRICS_FILE, *_other_metrics(folder)]


def remove_other_metrics(folder: Path) -> None:
    """Removes the metrics of processes other than the first."""
    for path in _other_metrics(folder):
        path.unlink()


def _other_metrics(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _OTHER_METRICS.fullmatch(path.name))


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Tells in one line, by a UserError, of a run folder that cannot be written to; lets FileExistsError through."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"cannot write to run folder {str(folder)[:200]}: {error.strerror}") from None
