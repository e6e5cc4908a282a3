"""Takes pruned units out of the arrays of agents in training, where that saves time, and settles their gates."""

import dataclasses
import time
from typing import NamedTuple

import jax

from xinet_jax import agent as agents
from xinet_jax.agent.state import AgentState
from xinet_jax.compat.xla import jit_options
from xinet_jax.networks.complexity import dense_total
from xinet_jax.networks.modules import Shape
from xinet_jax.pruning.compaction import rounded_widths
from xinet_jax.training.calls import program_call
from xinet_jax.training.devices import spread, unpad
from xinet_jax.training.member import Member
from xinet_jax.training.pace import EvaluationPace, Pace
from xinet_jax.training.phases import PHASES, Segment
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import Setup
from xinet_jax.training.signals import StopOnSignal
from xinet_jax.types import Key


class Compaction(NamedTuple):
    """A compaction whose gain is not known yet.

    Attributes:
      steps: environment steps when it was done.
      flops_left: ratio of the FLOPs of the arrays to the dense networks'.
      saving: what was predicted [seconds per step].
      seconds_per_step: before it.
      seconds: how long it took, without compiling.
    """

    steps: int
    flops_left: float
    saving: float
    seconds_per_step: float
    seconds: float


class Compactor:
    """Decides when agents are compacted, and does it. The agents go on as they would have, but for rounding.

    Args:
      recorder: records compactions.
      stop: what answers signals.
      ledger: what an earlier start of the run has learnt of their cost.
      envs: environments of each member.

    Attributes:
      paces: how fast each phase goes, by the present program.
      evaluation: how long evaluations take.
      ledger: what was learnt of the cost of compactions.
    """

    def __init__(self, recorder: Recorder, stop: StopOnSignal, ledger: Ledger, envs: int = 1) -> None:
        self._recorder, self._stop, self.ledger, self._envs = recorder, stop, ledger, envs
        self.paces = {phase: Pace(1 if phase == "pretrain" else envs) for phase in PHASES}
        self.evaluation = EvaluationPace()
        self._newest: Compaction | None = None  # until it is known how it turned out

    def after_segment(self, setup: Setup, state: Member, segment: Segment) -> tuple[Setup, Member]:
        """Returns what training goes on with after one of its segments.

        Where gates have just settled a compaction costs nothing more: the program is compiled anew in any case.

        Args:
          setup: what the segment was trained with.
          state: the members at its end.
          segment: the segment.
        """
        config = setup.config
        settled = config.pruner == "theta" and segment.last == config.pruning.prune_stop
        if settled:
            setup, state = self._settle(setup, state)
        if config.pruning.compact == "auto" and setup.agent.gated and self.paces["train"].rate:
            widths, saving, due = self._weigh(setup, state, segment)
            if widths != setup.agent.networks.shape and (due or (settled and segment.last < config.steps)):
                return self._compact(setup, state, widths, saving, segment.last)
        if settled and segment.last < config.steps:
            setup = self._renew(setup)  # without theta: what a run that is resumed from here compiles
        return setup, state

    def finish(self) -> None:
        """Reports the newest compaction, if that was not done yet."""
        self._report(self.paces["train"].rate)

    def _weigh(self, setup: Setup, state: Member, segment: Segment) -> tuple[Shape, float, bool]:
        """Returns the sizes to come down to, what that would save [seconds per step], and whether it pays."""
        rate, collect_rate = self.paces["train"].rate, self.paces["collect"].rate
        if self._newest and self._newest.steps < segment.first:
            self._report(rate)
        # A first compilation may have come from JAX's cache; the next sizes will not.
        newest = (self.paces["train"].compile_seconds or 0.0) + self.evaluation.compile_seconds
        ledger = dataclasses.replace(self.ledger, compile_seconds=max(newest, self.ledger.compile_seconds or 0.0))
        shape, count = setup.agent.networks.shape, len(setup.identities)
        multiple = setup.config.pruning.width_multiple or (128 if jax.default_backend() == "tpu" else 8)
        alive = jax.tree.map(lambda leaf: unpad(leaf, count), state.agent.alive)
        widths = rounded_widths(shape, alive, multiple)
        flops_left = dense_total(widths, "flops") / dense_total(shape, "flops")
        saving = ledger.saving_per_step(flops_left, 1.0 / rate, 1.0 / collect_rate if collect_rate else 0.0)
        self.ledger = ledger.accrue(segment.last - segment.first, saving)
        steps_left, last = setup.config.steps - segment.last, setup.agent.pruner == "none"
        return widths, saving, self.ledger.is_due(saving, steps_left, last=last)

    def _compact(self, setup: Setup, state: Member, widths: Shape, saving: float, steps: int) -> tuple[Setup, Member]:
        self._report(None)  # one that is too new to have been measured
        before, rate = time.monotonic(), self.paces["train"].rate
        agent, compacted = agents.compact(setup.agent, state.agent, widths)
        setup = self._renew(setup._replace(agent=agent))
        self.ledger = dataclasses.replace(self.ledger, lost_seconds=0.0)
        left_of_dense = dense_total(widths, "flops") / dense_total(agent.dense, "flops")
        self._newest = Compaction(steps, left_of_dense, saving, 1.0 / rate, time.monotonic() - before)
        return setup, state._replace(agent=spread(compacted, setup.mesh))

    def _settle(self, setup: Setup, state: Member) -> tuple[Setup, Member]:
        """Rounds every gate for good. The program is still one with a pass for theta, which is never due."""

        def settle(member: Member) -> tuple[AgentState, Key]:
            key, key_sample = jax.random.split(member.key)
            batch = setup.buffer.sample_more(member.replay, key_sample)
            return agents.settle(setup.agent, member.agent, batch), key

        # Matrix products as in the program.
        with program_call(self._stop, compiles=True), jax.default_matmul_precision("highest"):
            settled, key = jax.jit(jax.vmap(settle), **jit_options(jax.default_backend()))(state)
        state = state._replace(agent=spread(settled, setup.mesh), key=spread(key, setup.mesh))
        return setup._replace(agent=setup.agent._replace(pruner="none")), state

    def _renew(self, setup: Setup) -> Setup:
        """Makes the program for the agent as it is now. It is compiled when it is called."""
        if self.paces["train"].rate:
            self._report(self.paces["train"].rate)
        self.paces["train"] = Pace(self._envs)
        self.evaluation.restart()
        return setup.with_agent(setup.agent)

    def _report(self, rate: float | None) -> None:
        """Records what the newest compaction cost and what it brought, if that was not done yet. Learns from it."""
        if self._newest is None:
            return
        compaction, self._newest = self._newest, None
        seconds = compaction.seconds + (self.paces["train"].compile_seconds or 0.0)
        if rate:
            self.ledger = self.ledger.calibrate(compaction.saving, compaction.seconds_per_step, 1.0 / rate)
        before = 1.0 / compaction.seconds_per_step
        self._recorder.compaction(compaction.steps, compaction.flops_left, seconds, before, rate)
