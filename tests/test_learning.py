"""Learning from scratch, in minutes. Thresholds lie far below what the set-up reaches: they tell broken from not."""

import jax
import numpy as np
import pytest

import xinet_jax
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task


@pytest.mark.slow
def test_half_cheetah_learns_while_ofenet_shrinks(tmp_path):
    config = xinet_jax.make_config(steps=20_000, out=str(tmp_path / "run"))
    result = xinet_jax.train(config)
    layers = result.seeds[0].structure.layers
    ofenet = [layer for layer in layers if layer.network == "ofenet"]
    left = sum(layer.parameters for layer in ofenet) / sum(layer.parameters_before for layer in ofenet)
    assert result.seeds[0].returns.mean() > 400, "random actions return about -280"
    assert left < 0.6


def return_without_learning(name, size):
    """Returns the mean return of 32 episodes of random actions up to some size; of 0 nothing is done."""
    task = load_task(name, "native")

    def episode(key):
        def step(carry):
            state, key, _ = carry
            key, key_action = jax.random.split(key)
            action = jax.random.uniform(key_action, (task.action_size,), minval=-size, maxval=size)
            after, outcome = tasks.step(task, state, action)
            return after, key, outcome.ended

        start = (tasks.reset(task, key), key, False)
        return jax.lax.while_loop(lambda carry: ~carry[2], step, start)[0].episode_return

    return float(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.PRNGKey(0), 32)).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "better_by"),
    [
        ("InvertedPendulum-v5", 10_000, 900),
        ("InvertedDoublePendulum-v5", 12_000, 200),
        ("Reacher-v5", 8_000, 3),
        ("Pusher-v5", 20_000, 5),
        ("Swimmer-v5", 10_000, 10),
        ("Hopper-v5", 10_000, 40),
        ("Walker2d-v5", 10_000, 100),
        ("Humanoid-v5", 10_000, 100),
        ("HumanoidStandup-v5", 10_000, 10_000),
    ],
)
def test_each_task_is_learnt(name, steps, better_by, tmp_path):
    """The best of a few evaluations on the way beats random actions and doing nothing.

    With so few steps the last one may not. Ant is not here: standing still pays more than it learns in this time.
    """
    often = {"random_steps": 1_000, "pretrain_updates": 1_000, "eval_every": 1_000}
    config = xinet_jax.make_config(task=name, agent="ofenet", steps=steps, out=str(tmp_path / "run"), **often)
    result = xinet_jax.train(config)
    curve = [mean for _, mean in result.seeds[0].curve]
    at_random, nothing = return_without_learning(name, 1.0), return_without_learning(name, 0.0)
    shown = ", ".join(f"{mean:.0f}" for mean in curve)
    print(f"{name}: {at_random:.0f} at random, {nothing:.0f} by doing nothing; {shown}; saved", result.seeds[0].returns)
    assert max(curve) > max(at_random, nothing) + better_by
    assert np.isfinite(result.seeds[0].returns).all()
