"""A run, from its configuration to its results."""

import contextlib
from collections.abc import Iterator, Sequence

import jax

from xinet_jax.compat.jax import in_float32
from xinet_jax.config import Config, check, in_whole_rounds
from xinet_jax.errors import UserError, brief
from xinet_jax.tasks.registry import gymnasium_name, in_gymnasium
from xinet_jax.telemetry.progress import ProgressDisplay
from xinet_jax.telemetry.sinks import chosen_sinks
from xinet_jax.training import members, notes, processes
from xinet_jax.training.compactor import Compactor
from xinet_jax.training.devices import claim_cores
from xinet_jax.training.loop import Loop
from xinet_jax.training.member import Member
from xinet_jax.training.members import Identity
from xinet_jax.training.opening import Opened, opened
from xinet_jax.training.policies import evaluate_policies, remove_policies, save_policies
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.reporter import Reporter
from xinet_jax.training.results import Result, read_members, save_trade_off
from xinet_jax.training.run_folder import ENVIRONMENT_ERROR_FILE, STOP_FILE
from xinet_jax.training.saver import Saver
from xinet_jax.training.savings import Ledger
from xinet_jax.training.signals import StopOnSignal


@in_float32
def train(config: Config, progress: bool = True) -> Result:
    """Trains, prunes, saves and evaluates the agents that a configuration describes.

    Writes `config.yaml`, `metrics.jsonl`, `policy/seed_N/`, `report.html` and, for several values of nu, the trade-off
    curve to the run folder. SIGINT and SIGTERM end it early, with the policies learnt so far saved.

    Args:
      config: the configuration (`xinet_jax.make_config`).
      progress: whether to show progress on standard error.

    Raises:
      UserError: for a configuration that is not allowed, or a run folder that exists.
    """
    check(config)
    chosen_sinks(config.log)
    config = in_whole_rounds(config)
    check(config)
    everyone = members.identities(config)
    processes.join(config.distributed)
    claim_cores(config.devices, len(everyone))
    display = ProgressDisplay(progress and jax.process_index() == 0)
    with (
        opened(config, everyone, display.note) as run,
        _environments_of(run),
        display,
        StopOnSignal(run.folder / STOP_FILE) as stop,
    ):
        recorder = Recorder(run.setup.config, run.setup.identities, run.metrics, display, run.loggers)
        compactor = Compactor(recorder, stop, run.start.description.ledger if run.start else Ledger(), config.envs)
        saver = Saver(run.checkpoints, recorder)
        reporter = Reporter(run.folder, config.report and jax.process_index() == 0, recorder.note)
        loop = Loop(run.setup, recorder, compactor, saver, stop, reporter)
        state = loop.train(_begin(run, loop, recorder))
        compactor.finish()
        mistake = _finish(run, loop, state, recorder, saver, stop)
        # A later signal interrupts nothing here; of other processes it is known only when all have ended.
        heeded = stop.requested is not None or jax.process_count() > 1
        run.checkpoints.close()
        run.metrics.close()
        run.loggers.close()
        return _gather(run, loop, everyone, recorder, reporter, stop if heeded else None, mistake)


@contextlib.contextmanager
def _environments_of(run: Opened) -> Iterator[None]:
    """Closes environments on the host in the end, whatever happens."""
    host = run.setup.task.engine.host
    try:
        yield
    finally:
        if host is not None:
            host.close()


def _begin(run: Opened, loop: Loop, recorder: Recorder) -> Member:
    """Says what is trained, and returns the members at the start, or where they go on."""
    for line in notes.introduction(run.setup, run.folder):
        recorder.note(line)
    remove_policies(run.setup, run.folder)
    if run.start is None:
        return loop.begin()
    description = run.start.description
    recorder.resume(description, run.start.state.agent.diverged)
    where = "" if run.start.records is None else f" of {run.setup.config.branch_from}"
    recorder.note(f"going on from step {description.environment_steps:,}{where}")
    return loop.resume(description.position, run.start.state)


def _finish(
    run: Opened, loop: Loop, state: Member, recorder: Recorder, saver: Saver, stop: StopOnSignal
) -> UserError | None:
    """Saves every policy and, unless the run is interrupted, runs what was saved. Returns what stood in the way."""
    try:
        save_policies(loop.setup, state, loop.steps, run.folder)
    except UserError as error:
        return UserError(f"{error}; when that is mended: xinet train --resume {run.folder}")
    if loop.failure is not None:
        return _failed_environments(run, loop)
    if stop.requested:
        recorder.note(
            f"{stop.requested.name} at step {loop.steps:,}: what was learnt so far is saved in {run.folder}; "
            f"to go on: xinet train --resume {run.folder}"
        )
        return None
    if summary := saver.summary():
        recorder.note(summary)
    task = loop.setup.config.task
    where = "Gymnasium's " if in_gymnasium(task) else ""
    recorder.note(f"policies saved; running them in {where}{gymnasium_name(task)}")
    try:
        evaluate_policies(loop.setup, loop.steps, run.folder, recorder)
    except UserError as error:
        return UserError(f"{error}; policies are saved in {run.folder}")
    return None


def _failed_environments(run: Opened, loop: Loop) -> UserError:
    """Writes down the exception in one of the environments on the host, and returns what to say of it."""
    file = run.folder / ENVIRONMENT_ERROR_FILE
    try:
        file.write_text(loop.failure.trace)
        where = f"its traceback is in {file}"
    except OSError as error:
        where = f"its traceback cannot be written to {file}: {error.strerror}"
    return UserError(
        f"an environment of {loop.setup.config.task} failed by step {loop.steps:,}: {brief(loop.failure.summary)}; "
        f"{where}; what was learnt so far is saved; when that is mended: xinet train --resume {run.folder}"
    )


def _gather(
    run: Opened,
    loop: Loop,
    everyone: Sequence[Identity],
    recorder: Recorder,
    reporter: Reporter,
    stop: StopOnSignal | None,
    mistake: UserError | None,
) -> Result:
    """Waits for the other processes, and returns what became of the run in all of them."""
    first = jax.process_index() == 0
    processes.wait_for_all()
    interrupted = stop.requested.name if stop and stop.requested else None
    processes.wait_for_all()  # before the file goes that the others learn it from
    if first:
        (run.folder / STOP_FILE).unlink(missing_ok=True)
    reporter.finish()
    finished = read_members(run.folder, everyone) if mistake is None else ()
    processes.leave()
    if mistake:
        raise mistake  # now that the other processes know that this one has ended
    result = Result(run.folder, loop.setup.config, finished, loop.steps, interrupted)
    if first:
        try:
            save_trade_off(result)
        except OSError as error:
            recorder.note(f"cannot write the trade-off curve: {error.strerror}")
        if len(finished) < len(everyone):
            lost = len(everyone) - len(finished)
            recorder.note(f"a process is gone, and with it {lost} of {len(everyone)} members")
    return result
