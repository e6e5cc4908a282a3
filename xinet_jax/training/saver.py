"""Saves what a run needs to go on, and measures how long training waits for that."""

import time

import jax
import numpy as np

from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.description import Description
from xinet_jax.training.member import Member
from xinet_jax.training.memory import size_text
from xinet_jax.training.phases import Position
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import Setup
from xinet_jax.training.snapshot import snapshot


class Saver:
    """Saves checkpoints of a run.

    Args:
      checkpoints: where they go.
      recorder: records them.
    """

    def __init__(self, checkpoints: Checkpoints, recorder: Recorder) -> None:
        self._checkpoints, self._recorder = checkpoints, recorder
        self._saved: Position | None = None
        self._began, self._seconds, self._size = time.monotonic(), 0.0, 0

    def save(self, setup: Setup, state: Member, position: Position, ledger: Ledger) -> None:
        """Starts to write a checkpoint, unless this position is saved already.

        Args:
          setup: what the run trains with.
          state: the members.
          position: where the run stands.
          ledger: what was learnt of the cost of compactions.
        """
        if self._saved == position:
            return
        before, self._saved = time.monotonic(), position
        steps = position.environment_steps(setup.config.random_steps)
        self._checkpoints.wait()  # so that there is one copy on the host, and not two
        host = snapshot(state, len(setup.identities), setup.buffer.capacity)
        self._size = sum(leaf.nbytes for leaf in jax.tree.leaves(host))
        self._recorder.checkpoint(steps, self._size)
        newest_return = self._recorder.newest_return
        description = Description(
            position=position,
            environment_steps=steps,
            seconds=self._recorder.seconds,
            members=tuple(identity.folder for identity in setup.identities),
            widths=setup.agent.networks.shape,
            settled=setup.agent.pruner == "none" and setup.config.pruner != "none",
            capacity=setup.buffer.capacity,
            filled=host.replay.reward.shape[-1],
            observations=host.replay.observation.shape[-2],
            metrics_bytes=self._recorder.metrics_bytes,
            ledger=ledger,
            newest_return=newest_return if np.isfinite(newest_return or 0.0) else None,
        )
        self._checkpoints.save(steps, host, description.to_json(), self._recorder.mean_return)
        self._seconds += time.monotonic() - before

    def summary(self) -> str | None:
        """Returns what checkpoints have cost so far, in words; None if there was none."""
        if not self._size:
            return None
        fraction = self._seconds / max(time.monotonic() - self._began, 1e-9)
        cost = f"{self._seconds:.1f} s ({fraction:.1%})"
        return f"checkpoints held training up for {cost}; the last one has {size_text(self._size)}"
