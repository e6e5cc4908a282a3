"""The host loop: it calls the compiled phases chunk by chunk, and knows what is due after each segment."""

import time

import jax
import numpy as np

from xinet_jax.config import round_of
from xinet_jax.errors import UserError
from xinet_jax.tasks.engines.physics import Failure
from xinet_jax.training.calls import program_call
from xinet_jax.training.compactor import Compactor
from xinet_jax.training.devices import pad, spread, unpad
from xinet_jax.training.initial import initial_state
from xinet_jax.training.member import Member
from xinet_jax.training.phases import Position, Segment, remaining
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.reporter import Reporter
from xinet_jax.training.saver import Saver
from xinet_jax.training.setup import Setup
from xinet_jax.training.signals import StopOnSignal
from xinet_jax.training.tally import Tally


class Loop:
    """Trains. What is learnt is on the device, and is handed from call to call.

    Args:
      setup: what to train with.
      recorder, compactor, saver, reporter: what else happens on the host.
      stop: says whether a signal ends the run.

    Attributes:
      setup: what it trains with: after a compaction in other sizes.
      position: where the run stands.
    """

    def __init__(
        self,
        setup: Setup,
        recorder: Recorder,
        compactor: Compactor,
        saver: Saver,
        stop: StopOnSignal,
        reporter: Reporter,
    ) -> None:
        self.setup = setup._replace(hyper=spread(setup.hyper, setup.mesh), seeds=spread(setup.seeds, setup.mesh))
        self.position = Position("collect", 0)
        self._recorder, self._compactor, self._saver, self._stop = recorder, compactor, saver, stop
        self._reporter = reporter

    @property
    def steps(self) -> int:
        """Environment steps of each member so far."""
        return self.position.environment_steps(self.setup.config.random_steps)

    @property
    def failure(self) -> Failure | None:
        """The exception in one of the environments on the host, if there was one."""
        host = self.setup.task.engine.host
        return None if host is None else host.failure

    def begin(self) -> Member:
        """Returns the members at the start of a run."""
        with program_call(self._stop, compiles=True):
            return initial_state(self.setup)

    def resume(self, position: Position, state: Member) -> Member:
        """Returns members that have come to a position already. `state`: on the host, without padding."""
        self.position = position
        rows = np.array(pad(range(len(self.setup.identities)), self.setup.mesh))
        state = spread(jax.tree.map(lambda leaf: leaf[rows], state), self.setup.mesh)
        if self.setup.task.engine.host is None:
            return state
        self._recorder.note(f"environments of {self.setup.config.task} cannot be restored: new episodes begin")
        with program_call(self._stop, compiles=True):
            return self.setup.program.restart(state)

    def train(self, state: Member) -> Member:
        """Returns the members after every phase, or what is left of them.

        A signal ends the run earlier, and so does an exception in an environment on the host.
        """
        config = self.setup.config
        for segment in remaining(config, self.position):
            if self._nothing_left(state):
                self._recorder.note(f"nothing is left to train at step {self.steps:,}: every member has diverged")
                self._save(state)
                break
            state = self._run_segment(state, segment)
            if self.failure:
                break
            if self.position != (segment.phase, segment.last):
                break  # stopped by a signal; what is due at the segment's end is due when the run is resumed
            if segment.phase == "collect":
                self._check_transitions(state)
            if segment.phase == "train":
                self.setup, state = self._compactor.after_segment(self.setup, state, segment)
            if segment.evaluate:
                self._evaluate(state)
                if self.failure:
                    break
            if segment.phase == "train" and (self.steps % config.checkpoint_every == 0 or self.steps == config.steps):
                self._save(state)
            if self._stop.requested:
                break
        if self._stop.requested or self.failure:
            self._save(state)
        return state

    def _nothing_left(self, state: Member) -> bool:
        """Returns whether every member has diverged, and there is no other process whose members have not."""
        return jax.process_count() == 1 and bool(self._of_members(state.agent.diverged).all())

    def _run_segment(self, state: Member, segment: Segment) -> Member:
        """Runs a segment chunk by chunk, so that progress shows and signals are heard."""
        pace, sums, iteration = self._compactor.paces[segment.phase], None, segment.first
        pace.start_segment()
        self._recorder.show(Position(segment.phase, iteration), self._compactor.paces)
        while iteration < segment.last and not self._stop.requested:
            chunk = pace.chunk(segment.last - iteration)
            before = time.monotonic()
            with program_call(self._stop, compiles=not pace.compiled):
                state, tally = self._run_chunk(state, segment.phase, iteration, chunk)
                tally = jax.tree.map(self._of_members, tally)  # waits for the device
            pace.record(chunk, time.monotonic() - before)
            sums = tally if sums is None else jax.tree.map(np.add, sums, tally)
            iteration += chunk
            self.position = Position(segment.phase, iteration)
            if self.failure:
                break
            self._recorder.show(self.position, self._compactor.paces)
        if sums is not None:
            self._recorder.segment(self.position, sums, self.setup.agent, state.agent, pace.rate)
        return state

    def _run_chunk(self, state: Member, phase: str, iteration: int, chunk: int) -> tuple[Member, Tally]:
        program, hyper, cycle = self.setup.program, self.setup.hyper, round_of(self.setup.config)
        if phase == "pretrain":
            return program.pretrain(hyper, state, chunk)
        rounds = chunk // cycle.steps
        if phase == "collect":
            return program.collect(state, rounds)
        updates = (iteration - self.setup.config.random_steps) // cycle.steps * cycle.updates
        return program.train(hyper, state, iteration, rounds, updates)

    def _check_transitions(self, state: Member) -> None:
        """Ends a run on a task that has not given a single transition that is finite."""
        stored = self._of_members(state.replay.stored)
        if not stored.reshape(len(stored), -1).any(axis=1).all():
            task = self.setup.config.task
            raise UserError(f"{task} gave no transition that is finite in {self.position.iteration:,} random steps")

    def _evaluate(self, state: Member) -> None:
        """Runs whole episodes of the deterministic policies."""
        pace, before = self._compactor.evaluation, time.monotonic()
        with program_call(self._stop, compiles=not pace.compiled):
            returns = self._of_members(self.setup.program.evaluate(state.agent, self.setup.seeds))
        pace.record(time.monotonic() - before)
        self._recorder.evaluation(self.steps, returns, self._compactor.paces["train"].rate)
        self._reporter.renew()

    def _save(self, state: Member) -> None:
        self._saver.save(self.setup, state, self.position, self._compactor.ledger)

    def _of_members(self, leaf: jax.Array | np.ndarray) -> np.ndarray:
        """Returns an array on the host, without padding."""
        return unpad(leaf, len(self.setup.identities))
