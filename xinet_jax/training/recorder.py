"""What a run says of itself: lines of metrics, notes, and the status that is shown. Nothing here changes training."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.config import Config, round_of
from xinet_jax.networks.complexity import count, left
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.loggers import Loggers
from xinet_jax.telemetry.progress import ProgressDisplay, Status
from xinet_jax.training import members, notes
from xinet_jax.training.description import Description
from xinet_jax.training.devices import unpad
from xinet_jax.training.members import Identity
from xinet_jax.training.pace import Pace
from xinet_jax.training.phases import PHASES, Position
from xinet_jax.training.records import identity_entries, return_entries, segment_entries
from xinet_jax.training.tally import Tally


class Recorder:
    """Records a run.

    Args:
      config: the run's configuration.
      identities: this process's members.
      metrics: where lines of metrics go.
      display: where notes and the status go.
      loggers: what else is given the metrics.

    Attributes:
      newest_return: mean return of the newest evaluation, or of the newest finished episodes before the first.
    """

    def __init__(
        self,
        config: Config,
        identities: Sequence[Identity],
        metrics: JsonLines,
        display: ProgressDisplay,
        loggers: Loggers | None = None,
    ) -> None:
        self._config, self._identities, self._metrics, self._display = config, identities, metrics, display
        self._loggers = loggers
        self._started = time.monotonic()  # moves back when a run is resumed
        self._evaluations: list[float] = []  # the newest return of each member
        self._troubles: set[tuple[str, int]] = set()  # that were noted, each with its member
        self._parameters_left = 1.0
        self.newest_return: float | None = None

    @property
    def seconds(self) -> float:
        """Time since the start of the run, without that between interruption and resumption [s]."""
        return time.monotonic() - self._started

    @property
    def metrics_bytes(self) -> int:
        """Length of the metrics file [bytes]."""
        return self._metrics.size

    @property
    def mean_return(self) -> float | None:
        """Mean over the members of the newest evaluation; None if there was none since this start."""
        return float(np.mean(self._evaluations)) if self._evaluations else None

    def resume(self, description: Description, diverged: np.ndarray) -> None:
        """Goes on from what was recorded by an earlier start of the run.

        Args:
          description: of the checkpoint.
          diverged: whether each member has diverged, `[members]`.
        """
        self._started -= description.seconds
        self.newest_return = description.newest_return
        self._troubles |= {("diverged", int(member)) for member in np.flatnonzero(diverged)}

    def note(self, text: str) -> None:
        """Prints one line."""
        self._display.note(text)

    def show(self, position: Position, paces: Mapping[str, Pace]) -> None:
        """Shows where the run stands."""
        config, pace, training_rate = self._config, paces[position.phase], paces["train"].rate
        steps = max(position.environment_steps(config.random_steps), config.random_steps)
        self._display.show(
            Status(
                phase=PHASES[position.phase] if pace.compiled else "compiling",
                done=position.iteration,
                total=config.pretrain_updates if position.phase == "pretrain" else config.steps,
                episode_return=self.newest_return,
                parameters_left=self._parameters_left,
                updates_per_second=None if position.phase == "collect" else self._updates(position.phase, pace.rate),
                seconds_left=(config.steps - steps) / training_rate if training_rate else None,
                diverged=sum(trouble == "diverged" for trouble, _ in self._troubles),
            )
        )

    def segment(self, position: Position, tally: Tally, agent: Agent, state: AgentState, rate: float | None) -> None:
        """Records a segment, one line per member.

        Args:
          position: its end.
          tally: sums over it, on the host: leaves `[members]`.
          agent, state: the agents at its end, with a leading member axis. Padding is left out.
          rate: iterations per second.
        """
        steps, shape = position.environment_steps(self._config.random_steps), agent.networks.shape
        diverged = unpad(state.diverged, len(self._identities))
        layers = [count(agent.dense, shape, members.select(state.alive, row)) for row in range(len(diverged))]
        self._parameters_left = float(np.mean([left(of_member) for of_member in layers]))
        for row, of_member in enumerate(layers):
            sums = members.select(tally, row)
            entries = segment_entries(position.phase, sums, of_member, bool(diverged[row]), rate)
            self._write(position.phase, steps, row, entries)
            for trouble, line in notes.troubles(self._identities[row].label, steps, entries).items():
                if (trouble, row) not in self._troubles:
                    self._troubles.add((trouble, row))
                    self.note(line)
        if not self._evaluations and tally.episodes.any():
            self.newest_return = float(tally.episode_return.sum() / tally.episodes.sum())

    def evaluation(self, steps: int, returns: np.ndarray, rate: float | None) -> None:
        """Records an evaluation, one line per member.

        Args:
          steps: environment steps taken.
          returns: of every member's episodes, `[members, episodes]`.
          rate: environment steps per second.
        """
        self.newest_return = float(returns.mean())
        self._evaluations = [float(episodes.mean()) for episodes in returns]
        for row, episodes in enumerate(returns):
            self._write("evaluation", steps, row, return_entries(episodes))
        updates = self._updates("train", rate)
        self.note(notes.evaluation(steps, self._config.steps, self._evaluations, self._parameters_left, updates))

    def policy(self, steps: int, row: int, returns: np.ndarray) -> None:
        """Records the returns of one member's saved policy, `[episodes]`."""
        self._write("gymnasium", steps, row, return_entries(returns))

    def checkpoint(self, steps: int, size: int) -> None:
        """Records a checkpoint of a size [bytes]."""
        self._record({"kind": "checkpoint", "environment_steps": steps, "bytes": size})

    def compaction(
        self, steps: int, flops_left: float, seconds: float, rate_before: float, rate_after: float | None
    ) -> None:
        """Records a compaction.

        Args:
          steps: environment steps when it was done.
          flops_left: ratio of the FLOPs of the arrays to the dense networks'.
          seconds: how long it took, compilation included.
          rate_before, rate_after: environment steps per second; None if the next came too soon to measure.
        """
        entries = {"flops_of_arrays_left": flops_left, "compaction_seconds": round(seconds, 3)}
        entries |= {"iterations_per_second_before": rate_before, "iterations_per_second": rate_after}
        self._record({"kind": "compaction"} | self._stamp(steps) | entries)
        rates = self._updates("train", rate_before), self._updates("train", rate_after)
        self.note(notes.compaction(steps, flops_left, seconds, *rates))

    def _updates(self, phase: str, rate: float | None) -> float | None:
        """Returns the updates in some iterations of a phase, of OFENet alone or in environment steps."""
        cycle = round_of(self._config)
        return rate if rate is None or phase == "pretrain" else rate * cycle.updates / cycle.steps

    def _write(self, kind: str, steps: int, row: int, entries: dict[str, Any]) -> None:
        """Writes a line about one member."""
        self._record({"kind": kind} | identity_entries(self._identities[row]) | self._stamp(steps) | entries)

    def _record(self, record: dict[str, Any]) -> None:
        self._metrics.write(record)
        if self._loggers is not None:
            self._loggers.write(record)

    def _stamp(self, steps: int) -> dict[str, Any]:
        return {"environment_steps": steps, "seconds": round(self.seconds, 3)}
