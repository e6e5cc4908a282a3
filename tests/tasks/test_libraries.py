"""Tasks of other libraries: the same episodes as theirs, the same commands as ours."""

import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax.cli import main
from xinet_jax.config import load_config
from xinet_jax.errors import UserError
from xinet_jax.policy import rendering
from xinet_jax.policy.evaluation import evaluate
from xinet_jax.policy.files import load_policy
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.catalogue import BRAX, PLAYGROUND
from xinet_jax.tasks.names import BRAX_BACKENDS
from xinet_jax.tasks.registry import describe_task, load_task
from xinet_jax.training import run as runner


def environment_of(name):
    library, task = name.split("/")
    if library == "brax":
        from brax import envs

        return envs.get_environment(task, backend="spring")
    from mujoco_playground import dm_control_suite

    return dm_control_suite.load(task, config_overrides={"impl": "jax"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("brax/inverted_pendulum", {"backend": "spring"}),
        pytest.param("playground/PendulumSwingup", {}, marks=pytest.mark.slow),
        pytest.param("playground/FingerSpin", {}, marks=pytest.mark.slow),
    ],
)
def test_episodes_are_the_librarys_own(name, options):
    task, environment = load_task(name, **options), environment_of(name)
    key, action = jax.random.PRNGKey(3), jnp.full(task.action_size, 0.3)
    state, theirs = jax.jit(lambda key: tasks.reset(task, key))(key), jax.jit(environment.reset)(key)
    np.testing.assert_allclose(state.observation, theirs.obs, rtol=1e-5, atol=1e-6)
    step, their_step, total = jax.jit(lambda s, a: tasks.step(task, s, a)), jax.jit(environment.step), 0.0
    for _ in range(5):
        (state, outcome), theirs = step(state, action), their_step(theirs, action)
        total += float(theirs.reward)
        np.testing.assert_allclose(outcome.observation, theirs.obs, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outcome.reward, theirs.reward, rtol=1e-4, atol=1e-6)
        assert outcome.terminated == bool(theirs.done)
    np.testing.assert_allclose(state.episode_return, total, rtol=1e-4)
    assert outcome.finite
    assert task.predicted_size == task.observation_size == len(state.observation)


def test_names_are_the_libraries_own():
    from brax import envs
    from mujoco_playground import dm_control_suite

    assert set(PLAYGROUND.tasks) == set(dm_control_suite.ALL_ENVS)
    # One is a test of theirs. Swimmer: see xinet_jax/tasks/brax.py; should it work again, this fails.
    assert set(BRAX.tasks) == set(envs._envs) - {"fast", "swimmer"}
    swimmer = envs.get_environment("swimmer", backend="generalized")
    with pytest.raises(TypeError, match="a_min"):
        jax.eval_shape(lambda key: swimmer.step(swimmer.reset(key), jnp.zeros(2)), jax.random.PRNGKey(0))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BRAX_BACKENDS)
@pytest.mark.parametrize("name", BRAX.tasks)
def test_every_brax_task_runs_on_every_back_end(name, backend):
    task = load_task(f"brax/{name}", backend=backend)
    start = jax.eval_shape(lambda: tasks.reset(task, jax.random.PRNGKey(0)))
    step = lambda state: tasks.step_and_reset(task, state, jnp.zeros(task.action_size), jax.random.PRNGKey(1))[0]  # noqa: E731
    after = jax.eval_shape(step, start)
    assert jax.tree.structure(after) == jax.tree.structure(start)
    of_leaves = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    assert of_leaves(after) == of_leaves(start)


@pytest.mark.slow
def test_what_is_filmed_is_where_the_library_says_things_are():
    """Of a task whose target is a body that something else than physics moves."""
    task = load_task("playground/ReacherEasy")
    step, state = jax.jit(lambda s, a: tasks.step(task, s, a)[0]), tasks.reset(task, jax.random.PRNGKey(3))

    def act(observation):
        return np.full(task.action_size, 0.5, np.float32)

    assert np.abs(state.physics.mocap_pos).max() > 0.01
    count = 0
    for count, pose in enumerate(rendering._play(act, task, 3, 0.2, 2, progress=False), start=1):  # noqa: B007
        theirs, data = state.physics.state.data, mujoco.MjData(task.model)
        data.qpos[:], data.mocap_pos[:] = theirs.qpos, theirs.mocap_pos
        mujoco.mj_forward(task.model, data)  # what the library derived is of a step before
        np.testing.assert_allclose(pose.xpos, data.xpos, atol=1e-4)
        for _ in range(2):
            state = step(state, jnp.full(task.action_size, 0.5))
    assert count == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [f"playground/{task}" for task in PLAYGROUND.tasks] + [f"brax/{task}" for task in BRAX.tasks]
)
def test_sizes_are_the_libraries_own(name):
    task, description = load_task(name), describe_task(name)
    assert (description["observation"], description["action"]) == (task.observation_size, task.action_size)
    assert description["seconds_per_step"] == pytest.approx(task.dt)
    assert description["episode_length"] == task.definition.episode_length


def test_mistakes_are_told_in_one_line(monkeypatch, capsys):
    for options, message in (
        ({"task": "brax/ant", "brax_backend": "sprin"}, "unknown brax_backend 'sprin': did you mean 'spring'"),
        ({"task": "brax/ant", "engine": "mjx"}, "brax/ant runs on engine brax, not on mjx"),
        ({"task": "brax/ant", "mjx_impl": "warp"}, "mjx_impl warp is for tasks over our own engines, not for brax/ant"),
        ({"task": "playground/CheetahRun", "mjx_impl": "warp"}, "our own engines, not for playground/CheetahRun"),
        (
            {"task": "brax/ant", "task_options": ("backend=sprin",)},
            "unknown task option backend 'sprin': did you mean 'spring'",
        ),
        (
            {"task": "playground/CheetahRun", "task_options": ("ctrl=1",)},
            "unknown option of playground/CheetahRun 'ctrl': there is none",
        ),
        ({"task": "brax/ant", "physics": "fast"}, "physics fast is for tasks over our own engines, not for brax/ant"),
        ({"task": "playground/CheetahRun", "engine": "native"}, "runs on engine mjx, not on native"),
        ({"brax_backend": "spring"}, "brax_backend must be for one of Brax's tasks"),
        ({"engine": "native", "mjx_impl": "warp"}, "mjx_impl warp is for engine mjx, not for native"),
        ({"physics": "fst"}, "unknown physics 'fst': did you mean 'fast'"),
        ({"task": "playground/CheetaRun"}, "did you mean 'playground/CheetahRun'"),
        (
            {"task": "brax/ant", "task_options": ("backend=mjx",), "brax_backend": "spring"},
            "task_options must be name=value, each name once, not backend=spring",
        ),
    ):
        with pytest.raises(UserError) as caught:
            tiny_config(**options)
        assert message in str(caught.value)
    find = importlib.util.find_spec
    gone = ("brax", "mujoco_playground", "warp")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else find(name))
    for options, extra in (
        ({"task": "brax/ant"}, "brax"),
        ({"task": "playground/CheetahRun"}, "playground"),
        ({"engine": "mjx", "mjx_impl": "warp"}, "warp"),
    ):
        with pytest.raises(UserError, match=rf"needs an extra: pip install 'xinet_jax\[{extra}\]'"):
            tiny_config(**options)
    assert main(["tasks"]) == 0
    said = capsys.readouterr().out
    assert said.count("brax: pip install 'xinet_jax[brax]'") == len(BRAX.tasks)
    assert said.count("mjx: pip install 'xinet_jax[playground]'") == len(PLAYGROUND.tasks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("brax/inverted_pendulum", {"brax_backend": "spring"}), ("playground/PendulumSwingup", {})],
)
def test_trained_resumed_and_judged_by_the_same_commands(name, options, tmp_path, capsys):
    """Two members, so that states of another library's are batched, checkpointed and restored."""
    out = str(tmp_path / "run")
    config = tiny_config(task=name, agent="ofenet", seeds=2, final_episodes=2, checkpoint_every=20, out=out, **options)
    whole = runner.train(config, progress=False)
    assert load_config(whole.folder / "config.yaml").brax_backend == options.get("brax_backend")
    longer = runner.train(dataclasses.replace(whole.config, out=None, resume=out, steps=80), progress=False)
    straight = runner.train(dataclasses.replace(config, out=f"{out}-2", steps=80), progress=False)
    for one, other in zip(longer.seeds, straight.seeds, strict=True):
        assert np.isfinite(one.returns).all()
        np.testing.assert_array_equal(one.returns, other.returns)
    saved = longer.folder / "policy" / "seed_0"
    np.testing.assert_array_equal(evaluate(load_policy(saved), 2), longer.seeds[0].returns)
    assert main(["evaluate", str(saved), "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["task"] == name
    assert main(["render", str(saved), "--out", str(tmp_path / "film.gif"), "--seconds", "0.2"]) == 0
