"""The start of a run: what it goes on from, and the folder that it writes to. All processes agree on it, or all end."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from xinet_jax.config import Config, check_resumed, load_config, save_config
from xinet_jax.errors import UserError
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.loggers import Loggers
from xinet_jax.telemetry.sinks import Curves
from xinet_jax.training import members, processes
from xinet_jax.training.branch import find_branch
from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.members import Identity
from xinet_jax.training.resume import Start, find_start, is_complete
from xinet_jax.training.run_folder import (
    CONFIG_FILE,
    STOP_FILE,
    checkpoint_folder,
    claim_run_folder,
    lock,
    metrics_file,
    remove_other_metrics,
    writing_to,
)
from xinet_jax.training.setup import Setup, prepare
from xinet_jax.training.signals import Abandoned
from xinet_jax.training.snapshot import snapshot
from xinet_jax.training.starts import record_start

# What concerns one start of a run alone. The saved configuration is without it, so that it can be run again.
_OF_ONE_START = {"out": None, "overwrite": False, "resume": None, "devices": None, "distributed": False}


_PATIENCE = 5.0  # with loggers, where an error waits to be told [s]


class Opened(NamedTuple):
    """A run that is ready to train.

    Attributes:
      setup: what it trains with.
      start: where it goes on; None at the beginning.
      folder: its run folder.
      metrics, loggers, checkpoints: what this process writes to.
    """

    setup: Setup
    start: Start | None
    folder: Path
    metrics: JsonLines
    loggers: Loggers
    checkpoints: Checkpoints


@contextlib.contextmanager
def opened(config: Config, everyone: Sequence[Identity], note: Callable[[str], None]) -> Iterator[Opened]:
    """Prepares a run, holds its folder, and closes its files in the end.

    Args:
      config: the configuration, checked.
      everyone: the members of all processes.
      note: prints one line.

    Raises:
      UserError: for what cannot be trained, resumed or written, in this process or another.
    """
    first, index = jax.process_index() == 0, jax.process_index()
    with contextlib.ExitStack() as held:
        setup, start, folder = _prepare(config, everyone, note, held)
        with processes.together("write"), writing_to(folder):
            if first:
                save_config(dataclasses.replace(setup.config, **_OF_ONE_START), folder / CONFIG_FILE)
                record_start(folder, setup, start.description.environment_steps if start else 0)
            if start and start.records is not None:
                (folder / metrics_file(index)).write_bytes(start.records)
            keep = start.description.metrics_bytes if start else 0
            metrics = held.enter_context(contextlib.closing(JsonLines(folder / metrics_file(index), keep, note)))
        kept = checkpoint_folder(folder, index, jax.process_count())
        checkpoints = Checkpoints(kept, config.checkpoint_keep, note)
        if start and start.records is not None:
            _save_first(start, checkpoints)
        loggers = held.enter_context(contextlib.closing(_open_loggers(setup, start, folder, metrics, note)))
        try:
            yield Opened(setup, start, folder, metrics, loggers, checkpoints)
        except Abandoned:
            checkpoints.abandon()
            loggers.abandon()
            raise
        except BaseException:
            loggers.close(_PATIENCE)
            raise


def _open_loggers(
    setup: Setup, start: Start | None, folder: Path, metrics: JsonLines, note: Callable[[str], None]
) -> Loggers:
    """Returns the loggers of this process's members, which begin with what is recorded of them already."""
    settings = {identity.folder: members.settings_of(setup.config, identity) for identity in setup.identities}
    began = time.time() - (start.description.seconds if start else 0.0)
    file = folder / metrics_file(jax.process_index())
    return Loggers(setup.config.log, Curves(folder, settings, began), file, metrics.size, note)


def _prepare(
    config: Config, everyone: Sequence[Identity], note: Callable[[str], None], held: contextlib.ExitStack
) -> tuple[Setup, Start | None, Path]:
    """Returns what a run trains with, where it goes on and its folder, which the first process holds.

    Nothing is written before it is known that the run can be trained.
    """
    first, folder, start = jax.process_index() == 0, Path(config.resume or ""), None
    with processes.together("plan"), writing_to(folder):
        if config.resume is not None:
            start = _resume(config, everyone, folder, note, held)
        if start is None and config.branch_from is not None:
            start = find_branch(config, processes.local_members(everyone), note)
        setup = start.setup if start else prepare(config, processes.local_members(everyone))
    with processes.together("claim"), writing_to(setup.config.run_folder):
        if first and config.resume is None:
            folder = claim_run_folder(setup.config)
            held.enter_context(lock(folder))
        if first:
            (folder / STOP_FILE).unlink(missing_ok=True)
    return setup, start, Path(processes.gather_text("folder", str(folder))[0])


def _resume(
    config: Config,
    everyone: Sequence[Identity],
    folder: Path,
    note: Callable[[str], None],
    held: contextlib.ExitStack,
) -> Start | None:
    """Returns where a run goes on; None if it has come to no checkpoint yet."""
    first = jax.process_index() == 0
    check_resumed(config, load_config(folder / CONFIG_FILE))
    if first:
        held.enter_context(lock(folder))
    start = find_start(config, processes.local_members(everyone), folder, note)
    if start is None:
        note(f"{folder} has no checkpoint yet: beginning anew")
        if first:
            remove_other_metrics(folder)
    elif start.description.environment_steps == config.steps and is_complete(config, everyone, folder):
        raise UserError(f"the run is trained to {config.steps} steps already: choose more by steps")
    return start


def _save_first(start: Start, checkpoints: Checkpoints) -> None:
    """Saves what a run has taken over from another, which may change or go."""
    description = start.description
    host = snapshot(start.state, len(start.setup.identities), start.setup.buffer.capacity)
    checkpoints.save(description.environment_steps, host, description.to_json(), description.newest_return)
