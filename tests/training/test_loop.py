"""The host loop, with stand-ins for all that computes."""

import itertools
import signal
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import jax
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax.agent.replay import Buffer
from xinet_jax.agent.state import AgentState, Metrics
from xinet_jax.config import round_of
from xinet_jax.errors import UserError
from xinet_jax.pruning.theta import Figures
from xinet_jax.tasks.engines.physics import Failure
from xinet_jax.training import notes
from xinet_jax.training.compactor import Compactor
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.loop import Loop
from xinet_jax.training.member import Member
from xinet_jax.training.members import identities
from xinet_jax.training.pace import EvaluationPace, Pace
from xinet_jax.training.phases import PHASES, Position
from xinet_jax.training.program import Program
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.reporter import Reporter
from xinet_jax.training.saver import Saver
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import Setup
from xinet_jax.training.signals import StopOnSignal
from xinet_jax.training.tally import Tally


class Bench:
    """A loop, and what it has done."""

    def __init__(self, stop_at=None, finite=True, diverge_at=None, fail_at=None, **settings):
        self.config = tiny_config(**({"eval_every": 30, "checkpoint_every": 40} | settings))
        self.events, self.stop_at, self.finite, self.diverge_at = [], stop_at, finite, diverge_at
        self.fail_at = fail_at
        self.stop = create_autospec(StopOnSignal, instance=True)
        self.stop.requested = None
        self.recorder = create_autospec(Recorder, instance=True)
        self.saver = create_autospec(Saver, instance=True)
        self.saver.save.side_effect = lambda setup, state, position, ledger: self.events.append(("save", *position))
        self.compactor = create_autospec(Compactor, instance=True)
        self.cycle, self.host = round_of(self.config), SimpleNamespace(failure=None)
        self.compactor.paces = {phase: Pace(1 if phase == "pretrain" else self.cycle.steps) for phase in PHASES}
        self.compactor.evaluation, self.compactor.ledger = EvaluationPace(), Ledger()
        self.compactor.after_segment.side_effect = self.after_segment
        program = Program(self.init, self.collect, self.pretrain, self.train, self.restart, self.evaluate)
        task = SimpleNamespace(engine=SimpleNamespace(host=None if fail_at is None else self.host))
        mesh, seeds = make_mesh(1, 1), np.zeros(1, np.int32)
        setup = Setup(self.config, identities(self.config), task, None, [], mesh, None, program, (), seeds, "")
        self.reporter = create_autospec(Reporter, instance=True)
        self.loop = Loop(setup, self.recorder, self.compactor, self.saver, self.stop, self.reporter)

    def state(self, filled=0, diverged=False):
        replay = Buffer(60, 16, self.config.envs).init(2, 1)
        replay = replay._replace(stored=replay.stored + filled * self.finite)
        agent = AgentState(*[()] * 8, np.bool_(diverged))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], Member(agent, replay, (), ()))

    def chunk(self, phase, first, count):
        self.events.append((phase, first, first + count))
        if self.stop_at and first + count >= self.stop_at[1] and phase == self.stop_at[0]:
            self.stop.requested = signal.SIGTERM
        if self.fail_at and first + count >= self.fail_at[1] and phase == self.fail_at[0]:
            self.host.failure = Failure("it fell", "in line 7")
        ones = np.ones(1, np.int32)
        diverged = phase == "train" and self.diverge_at is not None and first + count >= self.diverge_at
        theta = Figures(price=ones * 0.0, held=ones * 0.0)
        tally = Tally(Metrics(*[ones * 1.0] * 6), count * ones, theta, ones, ones, ones * 1.0, ones, ones)
        return self.state(first + count, diverged), tally

    def init(self, hyper, seeds):
        self.events.append(("init",))
        return self.state()

    def collect(self, state, count):
        return self.chunk("collect", self.loop.position.iteration, count * self.cycle.steps)

    def pretrain(self, hyper, state, count):
        position = self.loop.position
        return self.chunk("pretrain", position.iteration if position.phase == "pretrain" else 0, count)

    def train(self, hyper, state, first, count, first_update):
        assert first_update * self.cycle.steps == (first - self.config.random_steps) * self.cycle.updates
        return self.chunk("train", first, count * self.cycle.steps)

    def restart(self, state):
        self.events.append(("restart",))
        return state

    def evaluate(self, agents, seeds):
        self.events.append(("evaluate", self.loop.steps))
        return np.zeros((1, 2), np.float32)

    def after_segment(self, setup, state, segment):
        self.events.append(("compact?", segment.last))
        return setup, state

    def run(self):
        self.loop.train(self.loop.begin())
        return self.events

    def iterations(self, phase):
        return [event[1:] for event in self.events if event[0] == phase]


def test_rounds_of_several_environments_are_whole():
    """Steps are counted over all environments; the program is told rounds and updates."""
    settings = {"envs": 4, "update_ratio": "3/4", "theta_every": 3, "prune_every": 3, "steps": 80, "eval_every": 40}
    bench = Bench(**settings)
    bench.run()
    ranges = bench.iterations("collect") + bench.iterations("train")
    assert [number for first, last in ranges for number in range(first, last)] == list(range(80))
    assert {edge % 4 for each in ranges for edge in each} == {0}
    assert [event[1] for event in bench.events if event[0] == "evaluate"] == [40, 80]


def test_an_exception_in_an_environment_ends_the_run_with_a_checkpoint():
    bench = Bench(fail_at=("train", 24))
    events = bench.run()
    last = max(last for _, last in bench.iterations("train"))
    assert 24 <= last < 60
    assert events[-1] == ("save", "train", last)
    assert bench.loop.failure == ("it fell", "in line 7")
    assert Bench().loop.failure is None


def test_environments_on_the_host_begin_new_episodes_where_a_run_goes_on():
    bench = Bench(fail_at=("train", 1000))
    bench.loop.resume(Position("train", 40), jax.tree.map(np.asarray, bench.state(40)))
    assert bench.events == [("restart",)]
    bench = Bench()
    bench.loop.resume(Position("train", 40), jax.tree.map(np.asarray, bench.state(40)))
    assert bench.events == []


def test_every_iteration_is_run_once_and_in_order():
    bench = Bench()
    events = bench.run()
    assert events[0] == ("init",)
    for phase, first, last in (("collect", 0, 20), ("pretrain", 0, 5), ("train", 20, 60)):
        chunks = bench.iterations(phase)
        assert (chunks[0][0], chunks[-1][1]) == (first, last)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(chunks))
        assert chunks[0][1] - chunks[0][0] == 1, "the first chunk of a phase compiles it, and is short"
    assert [kind for kind, _ in itertools.groupby(events, lambda event: event[0])][:4] == [
        "init",
        "collect",
        "pretrain",
        "train",
    ]
    assert bench.loop.position == ("train", 60)


def test_compaction_evaluation_and_checkpoint_come_in_this_order_where_they_are_due():
    events = Bench().run()
    due = [event for event in events if event[0] in ("compact?", "evaluate", "save")]
    assert due == [
        ("compact?", 30),
        ("evaluate", 30),
        ("compact?", 40),
        ("save", "train", 40),
        ("compact?", 60),
        ("evaluate", 60),
        ("save", "train", 60),
    ]


def test_metrics_are_recorded_at_the_end_of_each_segment():
    bench = Bench()
    bench.run()
    recorded = [call.args for call in bench.recorder.segment.call_args_list]
    assert [position for position, *_ in recorded] == [
        ("collect", 20),
        ("pretrain", 5),
        ("train", 30),
        ("train", 40),
        ("train", 60),
    ]
    assert [int(tally.updates[0]) for _, tally, *_ in recorded] == [20, 5, 10, 10, 20]


@pytest.mark.parametrize("stop_at", [("collect", 1), ("pretrain", 2), ("train", 31), ("train", 40)])
def test_a_signal_ends_in_a_checkpoint_and_nothing_else(stop_at):
    bench = Bench(stop_at=stop_at)
    bench.compactor.paces[stop_at[0]].chunk = lambda most: 1
    events = bench.run()
    assert bench.loop.position == stop_at
    assert events[-1] == ("save", *stop_at)
    assert not any(event[0] == "evaluate" and event[1] > 30 for event in events)
    before = len(events)
    assert ("compact?", 40) in events[: before - 1] if stop_at == ("train", 40) else ("compact?", 40) not in events


def test_a_run_goes_on_from_any_position():
    for position in (Position("collect", 7), Position("pretrain", 2), Position("train", 33)):
        bench = Bench()
        bench.loop.train(bench.loop.resume(position, bench.state(7)))
        assert bench.iterations(position.phase)[0][0] == position.iteration
        assert ("init",) not in bench.events
        assert bench.loop.position == ("train", 60)
    bench = Bench()
    bench.loop.train(bench.loop.resume(Position("train", 60), bench.state(60)))
    assert bench.events == [], "nothing is left"


def test_a_run_ends_when_every_member_has_diverged():
    bench = Bench(diverge_at=30, log_every=10)
    events = bench.run()
    assert events[-1] == ("save", "train", 30)
    bench.recorder.note.assert_called_once_with("nothing is left to train at step 30: every member has diverged")


def test_a_task_that_gives_nothing_finite_ends_the_run():
    with pytest.raises(UserError, match="HalfCheetah-v5 gave no transition that is finite in 20 random steps"):
        Bench(finite=False).run()


def test_signals_are_answered_as_compiling_during_first_calls():
    bench, compiling = Bench(), []
    collect = bench.collect

    def watched(state, count):
        compiling.append(bench.stop.compiling)
        return collect(state, count)

    bench.loop.setup = bench.loop.setup._replace(program=bench.loop.setup.program._replace(collect=watched))
    bench.run()
    assert compiling[0]
    assert not any(compiling[1:])
    assert not bench.stop.compiling


def test_a_run_says_what_it_is():
    """Environments and updates, and a precision that the devices do not have."""
    bench = Bench(envs=4, update_ratio="1/2", precision="tensorfloat32", theta_every=2, prune_every=2)
    first, *rest = notes.introduction(bench.loop.setup, Path("runs/x"))
    assert "xinet on HalfCheetah-v5, 1 seed, 4 environments each, updates per step: 1/2, auto physics" in first
    assert "cpu devices have no tensorfloat32: matrix products are in float32" in rest
    first, *rest = notes.introduction(Bench().loop.setup, Path("runs/x"))
    assert "environments" not in first
    assert not any("matrix products" in line for line in rest)
