"""The host loop: the one place that knows time, files and signals. It calls the compiled phases chunk by chunk."""

import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax import evaluation, policy
from xinet_jax.agent import Agent
from xinet_jax.complexity import LayerCount, count
from xinet_jax.config import Config, check, load_config, save_config
from xinet_jax.errors import UserError
from xinet_jax.policy import Policy, Structure
from xinet_jax.replay import make_replay
from xinet_jax.tasks.physics import default_engine
from xinet_jax.tasks.registry import load_task
from xinet_jax.tasks.task import Task
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.progress import ProgressDisplay, Status, whole
from xinet_jax.telemetry.tables import left
from xinet_jax.training import members
from xinet_jax.training.program import Member, Program, Tally, make_program
from xinet_jax.training.signals import StopOnSignal

CONFIG_FILE, METRICS_FILE, POLICY_FOLDER = "config.yaml", "metrics.jsonl", "policy"
_SECONDS_PER_CHUNK = 1.0  # between two looks at the clock and at signals


class SeedResult(NamedTuple):
    """What became of one seed.

    Attributes:
      seed: the seed.
      folder: its policy folder.
      structure: the saved policy's structure, with every layer's sizes before and after.
      curve: `(environment steps, mean return)` of every evaluation during training.
      returns: returns of the saved policy in Gymnasium's environment, `[episodes]`; None if the run was interrupted.
    """

    seed: int
    folder: Path
    structure: Structure
    curve: tuple[tuple[int, float], ...]
    returns: np.ndarray | None


class Result(NamedTuple):
    """What became of a run.

    Attributes:
      folder: the run folder.
      config: the configuration, as saved.
      seeds: one result per seed.
      environment_steps: steps taken per seed.
      interrupted: the name of the signal that ended it early, or None.
    """

    folder: Path
    config: Config
    seeds: tuple[SeedResult, ...]
    environment_steps: int
    interrupted: str | None


def train(config: Config, progress: bool = True) -> Result:
    """Trains, prunes, saves and evaluates the agents that a configuration describes.

    Writes `config.yaml`, `metrics.jsonl` and `policy/seed_N/` to the run folder. SIGINT and SIGTERM end it early, with
    the policies learnt so far saved.

    Args:
      config: the configuration (`xinet_jax.make_config`).
      progress: whether to show progress on standard error.

    Raises:
      UserError: for a configuration that is not allowed, or a run folder that exists.
    """
    check(config)
    folder = _claim_run_folder(config)
    engine = default_engine() if config.engine == "auto" else config.engine
    config = dataclasses.replace(config, engine=engine)
    task = load_task(config.task, engine)
    # Without the folder and the leave to overwrite it, so that the file can be run again.
    save_config(dataclasses.replace(config, out=None, overwrite=False), folder / CONFIG_FILE)
    metrics = JsonLines(folder / METRICS_FILE)
    try:
        with ProgressDisplay(progress) as display, StopOnSignal() as stop:
            return _Run(config, task, folder, metrics, display, stop).train()
    finally:
        metrics.close()


class _Segment(NamedTuple):
    """A stretch of one phase, `first` to `last`, after which metrics are written and perhaps an evaluation is due."""

    phase: str
    first: int
    last: int
    evaluate: bool


def _segments(config: Config) -> Iterator[_Segment]:
    def cut(phase: str, first: int, last: int, evaluated: bool) -> Iterator[_Segment]:
        while first < last:
            every = [config.log_every, config.eval_every] if evaluated else [config.log_every]
            end = min(last, *((first // n + 1) * n for n in every))
            yield _Segment(phase, first, end, evaluated and (end % config.eval_every == 0 or end == last))
            first = end

    yield from cut("collect", 0, config.random_steps, False)
    if config.agent != "sac":
        yield from cut("pretrain", 0, config.pretrain_updates, False)
    yield from cut("train", config.random_steps, config.steps, True)


_PHASES = {"collect": "random steps", "pretrain": "OFENet alone", "train": "training"}


class _Pace:
    """Measures a phase's rate, and chooses how many iterations a chunk has so that it lasts `_SECONDS_PER_CHUNK`."""

    def __init__(self) -> None:
        self.compiled = False
        self.rate: float | None = None  # iterations per second, over the running segment or the one before
        self._iterations, self._seconds = 0, 0.0

    def start_segment(self) -> None:
        self._iterations, self._seconds = 0, 0.0

    def chunk(self, most: int) -> int:
        if not self.compiled:
            return 1
        return min(most, max(1, round((self.rate or 10.0) * _SECONDS_PER_CHUNK)))

    def took(self, iterations: int, seconds: float) -> None:
        if self.compiled:
            self._iterations, self._seconds = self._iterations + iterations, self._seconds + seconds
            self.rate = self._iterations / max(self._seconds, 1e-9)
        self.compiled = True  # a phase's first chunk compiles it: its time says nothing about the rate


class _Run:
    """One run's host side. What is learnt is in `state`, on the device, and is handed from call to call."""

    def __init__(
        self,
        config: Config,
        task: Task,
        folder: Path,
        metrics: JsonLines,
        display: ProgressDisplay,
        stop: StopOnSignal,
    ) -> None:
        self.agent: Agent = agents.make_agent(config, task.observation_size, task.action_size)
        replay = make_replay(min(config.sac.replay_capacity, config.steps), config.sac.batch_size)
        self.program: Program = make_program(self.agent, task, replay, config.eval_episodes)
        self.hyper = members.repeat(agents.make_hyper(config, task.action_size), config.seeds)
        self.seeds = members.seeds(config.first_seed, config.seeds)
        self.config, self.folder, self.metrics, self.display, self.stop = config, folder, metrics, display, stop
        self.steps = 0
        self.started = time.monotonic()
        self.paces = {phase: _Pace() for phase in _PHASES}
        self.curves: list[list[tuple[int, float]]] = [[] for _ in range(config.seeds)]
        self.diverged: set[int] = set()
        self.newest_return: float | None = None
        self.parameters_left = 1.0

    def train(self) -> Result:
        config = self.config
        self.display.note(
            f"{config.agent} on {config.task}, {config.seeds} seed{'s' * (config.seeds > 1)}, "
            f"{config.engine} physics on {jax.default_backend()}; writing to {self.folder}"
        )
        state = self.program.init(self.hyper, self.seeds)
        for segment in _segments(config):
            state = self._run_segment(state, segment)
            if self.stop.requested:
                break
            if segment.evaluate:
                self._evaluate(state)
        return self._finish(state)

    def _run_segment(self, state: Member, segment: _Segment) -> Member:
        """Runs a segment chunk by chunk, so that progress shows and signals are heard."""
        pace, sums, position = self.paces[segment.phase], None, segment.first
        pace.start_segment()
        self._show(segment, position)
        while position < segment.last and not self.stop.requested:
            chunk = pace.chunk(segment.last - position)
            before = time.monotonic()
            state, tally = self._run_chunk(state, segment.phase, position, chunk)
            tally = jax.tree.map(np.asarray, tally)  # waits for the device
            pace.took(chunk, time.monotonic() - before)
            sums = tally if sums is None else jax.tree.map(np.add, sums, tally)
            position += chunk
            if segment.phase != "pretrain":
                self.steps = position
            self._show(segment, position)
        if sums is not None:
            self._record(state, segment.phase, sums)
        return state

    def _run_chunk(self, state: Member, phase: str, position: int, chunk: int) -> tuple[Member, Tally]:
        if phase == "collect":
            return self.program.collect(state, chunk)
        if phase == "pretrain":
            return self.program.pretrain(self.hyper, state, chunk)
        return self.program.train(self.hyper, state, position, chunk, position - self.config.random_steps)

    def _record(self, state: Member, phase: str, sums: Tally) -> None:
        """Writes one line of metrics per seed."""
        layers = [self._layers(state, member) for member in range(self.config.seeds)]
        self.parameters_left = float(np.mean([left(own) for own in layers]))
        for member, seed in enumerate(np.asarray(self.seeds)):
            tally = members.select(sums, member)
            updates, episodes = int(tally.updates), int(tally.episodes)
            record: dict[str, Any] = {"kind": phase} | self._stamp(int(seed))
            record["iterations_per_second"] = self.paces[phase].rate
            if updates:
                figures = {name: float(total) / updates for name, total in tally.metrics._asdict().items()}
                # OFENet alone has no critics or actor to speak of.
                record |= figures if phase == "train" else {"auxiliary_loss": figures["auxiliary_loss"]}
                if not np.isfinite(list(figures.values())).all() and member not in self.diverged:
                    self.diverged.add(member)
                    self.display.note(f"seed {seed} diverged before step {self.steps:,}: its losses are not finite")
            record["episodes"] = episodes
            record["episode_return"] = float(tally.episode_return) / episodes if episodes else None
            record["episode_length"] = float(tally.episode_length) / episodes if episodes else None
            record["parameters"] = sum(layer.parameters for layer in layers[member])
            record["parameters_left"] = left(layers[member])
            record["ofenet_left"] = left(layer for layer in layers[member] if layer.network == "ofenet")
            record["flops"] = sum(layer.flops for layer in layers[member])
            self.metrics.write(record)
        if not self.curves[0] and sums.episodes.any():
            self.newest_return = float(sums.episode_return.sum() / sums.episodes.sum())

    def _evaluate(self, state: Member) -> None:
        """Evaluates the deterministic policies, notes their returns and writes a line of metrics per seed."""
        returns = np.asarray(self.program.evaluate(state.agent, self.seeds))
        self.newest_return = float(returns.mean())
        for member, seed in enumerate(np.asarray(self.seeds)):
            mean = float(returns[member].mean())
            self.curves[member].append((self.steps, mean))
            every = [float(value) for value in returns[member]]
            self.metrics.write({"kind": "evaluation"} | self._stamp(int(seed)) | {"return": mean, "returns": every})
        shown = ", ".join(whole(own[-1][1]) for own in self.curves[:8]) + (", …" if len(self.curves) > 8 else "")
        rate = self.paces["train"].rate
        self.display.note(
            f"step {self.steps:,} of {self.config.steps:,}: return {shown}; "
            f"parameters left {self.parameters_left:.0%}" + (f"; {rate:.0f} updates/s" if rate else "")
        )

    def _finish(self, state: Member) -> Result:
        """Saves every policy, and gives what was saved its episodes in Gymnasium, unless the run is interrupted."""
        folders = []
        for member, seed in enumerate(np.asarray(self.seeds)):
            folders.append(self.folder / POLICY_FOLDER / f"seed_{seed}")
            policy.save_policy(self._policy(state, member), folders[-1])
        if not self.stop.requested:
            self.display.note(f"policies saved; running them in Gymnasium's {self.config.task}")
        results = []
        for member, folder in enumerate(folders):
            saved, returns = policy.load_policy(folder), None
            if not self.stop.requested:
                returns = evaluation.evaluate(saved, self.config.final_episodes)
                every = [float(value) for value in returns]
                record = {"kind": "gymnasium"} | self._stamp(saved.structure.seed)
                self.metrics.write(record | {"return": float(returns.mean()), "returns": every})
            results.append(
                SeedResult(saved.structure.seed, folder, saved.structure, tuple(self.curves[member]), returns)
            )
        interrupted = self.stop.requested.name if self.stop.requested else None
        if interrupted:
            where = self.folder / POLICY_FOLDER
            self.display.note(f"{interrupted} at step {self.steps:,}: what was learnt so far is saved in {where}")
        return Result(self.folder, self.config, tuple(results), self.steps, interrupted)

    def _stamp(self, seed: int) -> dict[str, Any]:
        return {"seed": seed, "environment_steps": self.steps, "seconds": round(time.monotonic() - self.started, 3)}

    def _layers(self, state: Member, member: int) -> tuple[LayerCount, ...]:
        return count(self.agent.networks.shape, members.select(state.agent.alive, member))

    def _policy(self, state: Member, member: int) -> Policy:
        return policy.from_agent(
            self.agent.networks.shape,
            members.select(state.agent, member),
            task=self.config.task,
            agent=self.config.agent,
            seed=int(self.seeds[member]),
            environment_steps=self.steps,
        )

    def _show(self, segment: _Segment, position: int) -> None:
        rate, config = self.paces[segment.phase].rate, self.config
        totals = {"collect": config.steps, "pretrain": config.pretrain_updates, "train": config.steps}
        left_to_train = config.steps - max(self.steps, config.random_steps)
        train_rate = self.paces["train"].rate
        self.display.show(
            Status(
                phase=_PHASES[segment.phase] if self.paces[segment.phase].compiled else "compiling",
                done=position,
                total=totals[segment.phase],
                episode_return=self.newest_return,
                parameters_left=self.parameters_left,
                updates_per_second=None if segment.phase == "collect" else rate,
                seconds_left=left_to_train / train_rate if train_rate else None,
            )
        )


def _choose_run_folder(config: Config) -> Path:
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
            while folder.exists():
                number += 1
                folder = config.run_folder.with_name(f"{config.run_folder.name}-{number}")
        if not folder.exists():
            return folder
        if not config.overwrite:
            raise UserError(f"run folder {folder} exists: choose another with --out, or give --overwrite")
        content = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    except OSError as error:
        raise _cannot_write(folder, error) from None
    strange = content - {CONFIG_FILE, METRICS_FILE, POLICY_FOLDER}
    if strange or (content and CONFIG_FILE not in content):
        what = f"it holds {sorted(strange)[0]}" if strange else f"it has no {CONFIG_FILE}"
        raise UserError(f"{folder} is not a run folder ({what}): it will not be overwritten")
    if content:
        load_config(folder / CONFIG_FILE)
    return folder


def _claim_run_folder(config: Config) -> Path:
    """Makes the run folder and returns it. Of runs started at the same time, only one gets a folder."""
    while True:
        folder = _choose_run_folder(config)
        try:
            _make_run_folder(folder, config.overwrite)
            return folder
        except FileExistsError:  # taken since it was chosen: the next look says so, or finds another name
            continue


def _make_run_folder(folder: Path, overwrite: bool) -> None:
    """Makes the folder; of a run that is overwritten, removes what that run wrote and nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=overwrite)
        for name in (CONFIG_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
        if (folder / POLICY_FOLDER).exists():
            shutil.rmtree(folder / POLICY_FOLDER)
    except FileExistsError:
        raise
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to run folder {str(folder)[:200]}: {error.strerror}")
