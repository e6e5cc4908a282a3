"""What is written down in a checkpoint, and when."""

import json
from unittest.mock import create_autospec

import jax
import numpy as np
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.description import Description
from xinet_jax.training.member import Member
from xinet_jax.training.members import identities
from xinet_jax.training.phases import Position
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.saver import Saver
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import Setup

FILLED, CAPACITY = 3, 60


def make(newest_return=None):
    """Returns a saver, where it writes to, what it trains with, and one member with padding."""
    config = tiny_config()
    recorder = create_autospec(Recorder, instance=True, newest_return=newest_return, seconds=2.0, metrics_bytes=9)
    recorder.mean_return = None
    checkpoints = create_autospec(Checkpoints, instance=True)
    agent = agents.make_agent(config, 17, 6)
    buffer = Buffer(CAPACITY, 16)
    setup = Setup(config, identities(config), None, agent, [], None, buffer, None, (), np.zeros(1), "")
    replay = buffer.init(2, 1)
    replay = replay._replace(stored=replay.stored + FILLED, head=replay.head + FILLED + 1)
    state = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), Member((), replay, (), np.zeros(2, np.uint32)))
    return Saver(checkpoints, recorder), checkpoints, recorder, setup, state


def test_a_checkpoint_says_where_the_run_stands():
    saver, checkpoints, recorder, setup, state = make(newest_return=5.0)
    assert saver.summary() is None
    saver.save(setup, state, Position("pretrain", 4), Ledger(1.0, 2.0, 0.5))
    (step, host, content, best), _ = checkpoints.save.call_args
    assert (step, best) == (20, None)
    description = Description.from_json(json.loads(json.dumps(content)))
    assert (description.position, description.environment_steps) == (("pretrain", 4), 20)
    assert (description.capacity, description.filled, description.observations) == (CAPACITY, FILLED, FILLED + 2)
    assert description.members == ("seed_0",)
    assert description.ledger == Ledger(1.0, 2.0, 0.5)
    assert (description.seconds, description.metrics_bytes, description.newest_return) == (2.0, 9, 5.0)
    assert not description.settled
    assert host.replay.reward.shape == (1, FILLED), "without padding, and what is not filled"
    assert host.replay.observation.shape == (1, FILLED + 2, 2)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(host))
    recorder.checkpoint.assert_called_once_with(20, size)
    assert saver.summary().endswith(f"the last one has {size} B")


def test_a_position_is_saved_once():
    saver, checkpoints, _, setup, state = make()
    for position in (("train", 30), ("train", 30), ("train", 40)):
        saver.save(setup, state, Position(*position), Ledger())
    assert [call.args[0] for call in checkpoints.save.call_args_list] == [30, 40]


def test_a_return_that_is_not_finite_is_not_written_down():
    saver, checkpoints, _, setup, state = make(newest_return=float("nan"))
    saver.save(setup, state, Position("train", 30), Ledger())
    assert checkpoints.save.call_args.args[2]["newest_return"] is None


def test_settled_gates_are_written_down():
    saver, checkpoints, _, setup, state = make()
    saver.save(setup._replace(agent=setup.agent._replace(pruner="none")), state, Position("train", 30), Ledger())
    assert checkpoints.save.call_args.args[2]["settled"] is True
