"""When agents in training are compacted, what changes with them, and what is learnt from it."""

from unittest.mock import create_autospec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax.training.compactor import Compactor
from xinet_jax.training.member import Member
from xinet_jax.training.members import identities
from xinet_jax.training.phases import Segment
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import prepare
from xinet_jax.training.signals import StopOnSignal

FIRST, SECOND, THIRD = (Segment("train", first, first + 20, False) for first in (20, 40, 60))


class Bench:
    """A compactor, a setup and a member of which a few units are pruned. Nothing is compiled."""

    def __init__(self, dead=3, compile_seconds=1.0, **settings):
        config = tiny_config(**({"width_multiple": 1, "steps": 100, "engine": "native"} | settings))
        self.setup = prepare(config, identities(config))
        hyper = jax.tree.map(lambda leaf: leaf[0], self.setup.hyper)
        agent = agents.init(self.setup.agent, hyper, jax.random.PRNGKey(0))
        state, action = agent.alive["ofenet"]["state"], agent.alive["ofenet"]["action"]
        alive = {"ofenet": {"state": (state[0].at[:dead].set(0.0), *state[1:]), "action": action}}
        agent = agent._replace(alive=alive, theta=alive)
        task = self.setup.task
        replay = self.setup.buffer.init(task.observation_size, task.action_size)
        self.state = jax.tree.map(lambda leaf: leaf[None], Member(agent, replay, (), jax.random.PRNGKey(1)))
        self.recorder = create_autospec(Recorder, instance=True)
        self.compactor = Compactor(self.recorder, create_autospec(StopOnSignal, instance=True), Ledger())
        self.measure(compile_seconds, 10)

    def measure(self, compile_seconds, rate):
        """Lets the compactor know how long compilation took, and the updates per second."""
        pace = self.compactor.paces["train"]
        pace.start_segment()
        if not pace.compiled:
            pace.record(1, compile_seconds)
        pace.record(rate, 1.0)


def blocks(setup, state):
    """Returns the units of the first block, as the setup and as the arrays have it."""
    return setup.agent.networks.shape.state_blocks[0], state.agent.alive["ofenet"]["state"][0].shape[-1]


def test_a_compaction_waits_until_it_pays():
    bench = Bench(compile_seconds=1e6)
    setup, state = bench.compactor.after_segment(bench.setup, bench.state, FIRST)
    assert setup is bench.setup
    assert state is bench.state
    assert bench.compactor.ledger.compile_seconds == 1e6
    lost = bench.compactor.ledger.lost_seconds
    assert lost > 0
    bench.compactor.after_segment(bench.setup, bench.state, SECOND)
    assert bench.compactor.ledger.lost_seconds == pytest.approx(2 * lost)
    bench.compactor.finish()
    bench.recorder.compaction.assert_not_called()


def test_a_compaction_takes_pruned_units_out_and_makes_another_program():
    bench = Bench(compile_seconds=1e-3)
    setup, state = bench.compactor.after_segment(bench.setup, bench.state, FIRST)
    assert blocks(bench.setup, bench.state) == (5, 5)
    assert blocks(setup, state) == (2, 2)
    assert setup.program is not bench.setup.program
    assert setup.agent.dense == bench.setup.agent.dense
    np.testing.assert_array_equal(state.agent.origin["ofenet"]["state"][0], [[3, 4]])
    assert bench.compactor.ledger.lost_seconds == 0.0
    assert bench.compactor.paces["train"].rate is None, "its rate is not known yet"
    bench.recorder.compaction.assert_not_called()


def test_a_compaction_is_reported_with_its_rates_once_it_is_measured():
    bench = Bench(compile_seconds=1e-3)
    setup, state = bench.compactor.after_segment(bench.setup, bench.state, FIRST)
    bench.measure(2.0, 20)
    for segment in (SECOND, THIRD):
        bench.recorder.compaction.assert_not_called()
        after = bench.compactor.after_segment(setup, state, segment)
        assert after[0] is setup, "nothing more is pruned"
    (steps, flops_left, seconds, before, after), _ = bench.recorder.compaction.call_args
    assert (steps, before, after) == (40, pytest.approx(10.0), pytest.approx(20.0))
    assert 0 < flops_left < 1
    assert seconds > 2.0, "with the time to compile"
    assert bench.compactor.ledger.realised == 2.0, "it saved more than was predicted"
    bench.compactor.finish()
    bench.recorder.compaction.assert_called_once()


def test_a_compaction_that_was_not_measured_is_reported_at_the_end():
    bench = Bench(compile_seconds=1e-3)
    bench.compactor.after_segment(bench.setup, bench.state, FIRST)
    bench.compactor.finish()
    assert bench.recorder.compaction.call_args.args[-1] is None
    assert bench.compactor.ledger.realised == 1.0


@pytest.mark.parametrize("settings", [{"compact": "end"}, {"compact": "off"}])
def test_nothing_is_compacted_where_that_is_not_wanted(settings):
    bench = Bench(compile_seconds=1e-3, width_multiple=None, **settings)
    assert bench.compactor.after_segment(bench.setup, bench.state, FIRST) == (bench.setup, bench.state)


@pytest.mark.parametrize(
    ("compact", "steps", "units"), [("auto", 100, 2), ("end", 100, 5), ("auto", 40, 5), ("end", 40, 5)]
)
def test_gates_settle_at_prune_stop_and_the_program_is_one_without_theta(compact, steps, units, monkeypatch):
    """With steps to go the arrays are compacted, whether it pays or not: the program is made anew in any case."""
    monkeypatch.setattr(agents, "settle", lambda agent, state, batch: state._replace(mse_bars=jnp.ones(1)))
    narrow = {"width_multiple": 1 if compact == "auto" else None}
    bench = Bench(compile_seconds=1e6, prune_stop=40, compact=compact, steps=steps, **narrow)
    key = np.asarray(bench.state.key)
    setup, state = bench.compactor.after_segment(bench.setup, bench.state, FIRST)
    assert setup.agent.pruner == "none"
    assert state.agent.mse_bars.shape == (1, 1), "every member was settled"
    assert (np.asarray(state.key) != key).any()
    assert blocks(setup, state) == (units, units)
    assert (setup.program is bench.setup.program) == (steps == 40)
    setup, _ = bench.compactor.after_segment(setup, state, SECOND)
    assert setup.agent.pruner == "none"
