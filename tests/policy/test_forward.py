"""The forward pass in NumPy: what flax's modules compute, each row by itself; and what Stable-Baselines3 asks for."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_policy

from xinet_jax.networks.modules import MLP, OFENet, policy_distribution, policy_mode
from xinet_jax.policy.evaluation import evaluate

KINDS = {
    "dense": random_policy(),
    "one block is lost": random_policy(blocks=(4, 0, 2)),
    "the first block is lost": random_policy(blocks=(0, 3)),
    "every block is lost": random_policy(blocks=(0, 0)),
    "no extractor": random_policy(blocks=(), agent="sac", nu=None),
    "one hidden layer": random_policy(hidden=(5,)),
    "other actions": random_policy(action_scale=(2.0, 0.4, 1.0), action_offset=(0.5, 0.0, -3.0)),
}
OBSERVATIONS = 3.0 * np.random.default_rng(1).normal(size=(200, 11)).astype(np.float32)


def by_flax(policy, observations):
    """Returns the actor's outputs, by the modules that were trained."""
    structure, arrays = policy.structure, policy.arrays
    ofenet, actor = OFENet(structure.state_blocks, (), 0), MLP(structure.actor_hidden, 2 * structure.action)
    variables = {"params": arrays.get("ofenet", {}), "batch_stats": arrays.get("statistics", {})}
    z_o = ofenet.apply(variables, jnp.asarray(observations), method=ofenet.state_features)
    return actor.apply({"params": arrays["actor"]}, z_o)


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_the_networks_do(kind):
    policy = KINDS[kind]
    scale, offset = (np.asarray(getattr(policy.structure, f"action_{name}")) for name in ("scale", "offset"))
    expected = offset + scale * policy_mode(by_flax(policy, OBSERVATIONS))
    for actions in (policy(OBSERVATIONS), policy.each(OBSERVATIONS)):
        assert actions.dtype == np.float32
        np.testing.assert_allclose(actions, expected, atol=2e-5)
    assert np.ptp(expected, axis=0).min() > 0.5


@pytest.mark.parametrize("kind", ["dense", "no extractor"])
def test_a_row_is_the_same_to_the_last_digit_in_any_batch(kind):
    policy = KINDS[kind]
    alone = np.stack([policy(row) for row in OBSERVATIONS])
    np.testing.assert_array_equal(policy.each(OBSERVATIONS), alone)
    for rows in (1, 2, 7, 64):
        np.testing.assert_array_equal(policy(OBSERVATIONS[:rows]), alone[:rows])
    np.testing.assert_array_equal(policy.each(OBSERVATIONS[::-3]), alone[::-3])
    np.testing.assert_array_equal(policy.each(np.asfortranarray(OBSERVATIONS[:9])), alone[:9])
    np.testing.assert_array_equal(policy.each(OBSERVATIONS.reshape(4, 50, 11)), alone.reshape(4, 50, 3))
    np.testing.assert_allclose(policy(OBSERVATIONS), alone, atol=1e-5)
    assert policy(OBSERVATIONS[:0]).shape == (0, 3)


@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_gives_actions_that_are_not_finite():
    observations = OBSERVATIONS[:2].copy()
    observations[0, 0] = np.nan
    actions = KINDS["dense"](observations)
    assert np.isnan(actions[0]).all()
    assert np.isfinite(actions[1]).all()
    assert np.isnan(KINDS["dense"](np.full(11, 3e38))).any(), "sums of weights overflow"


def test_predict_is_as_stable_baselines_has_it():
    """`evaluate_policy` calls it so, with batches of observations in float64 and the state that it was given."""
    policy = KINDS["other actions"]
    state, starts = None, np.ones(4, bool)
    batch = OBSERVATIONS[:4].astype(np.float64)
    actions, state = policy.predict(batch, state=state, episode_start=starts, deterministic=True)
    assert state is None
    np.testing.assert_array_equal(actions, policy(batch))
    action, _ = policy.predict(batch[0])
    np.testing.assert_array_equal(action, actions[0])
    with pytest.raises(ValueError, match=r"\[..., 11\]"):
        policy.predict(np.zeros(10), deterministic=False)


def test_stochastic_actions_are_those_of_training():
    policy = KINDS["other actions"]
    policy.generator = np.random.default_rng(0)
    observation, draws = OBSERVATIONS[5] / 10, 20_000
    actions, _ = policy.predict(np.tile(observation, (draws, 1)), deterministic=False)
    squashed = (actions - policy.network.offset) / policy.network.scale
    before = np.arctanh(np.clip(squashed, -0.999999, 0.999999))
    expected = policy_distribution(by_flax(policy, observation)).distribution
    mean, std = np.asarray(expected.mean()), np.asarray(expected.stddev())
    np.testing.assert_allclose(before.mean(axis=0), mean, atol=5 * std.max() / draws**0.5)
    np.testing.assert_allclose(before.std(axis=0), std, rtol=0.03)
    policy.generator = np.random.default_rng(0)
    np.testing.assert_array_equal(policy.predict(np.tile(observation, (draws, 1)), deterministic=False)[0], actions)


def test_stable_baselines_evaluates_it():
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    vectors = pytest.importorskip("stable_baselines3.common.vec_env")
    policy = KINDS["dense"]
    environments = vectors.DummyVecEnv([lambda: gymnasium.make("Hopper-v5")])
    environments.seed(4)
    mean, spread = evaluation.evaluate_policy(policy, environments, n_eval_episodes=1, warn=False)
    np.testing.assert_allclose([mean, spread], [evaluate(policy, episodes=1, seed=4)[0], 0.0], rtol=1e-4)
