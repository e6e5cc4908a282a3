"""Parity with Gymnasium's own environments, and what a task adds to its physics."""

import copy
import json
import math

import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
import pytest

from benchmarks.parity import differences, make_gymnasium
from xinet_jax.errors import UserError
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.engines.batching import as_one_batch
from xinet_jax.tasks.engines.mjx import mjx
from xinet_jax.tasks.engines.physics import Physics, make_engine
from xinet_jax.tasks.engines.runge_kutta import runge_kutta_step
from xinet_jax.tasks.options import as_json, check_options, options_text, parse_options
from xinet_jax.tasks.registry import checked_options, choose_engine, describe_task, in_gymnasium, load_task, task_names
from xinet_jax.tasks.task import Definition, TaskState


def state_at(task, physics):
    return TaskState(physics, task.definition.observe(physics), jnp.int32(0), jnp.float32(0))


# Of the others some take minutes to compile on two cores.
_QUICK_ON_MJX = ("InvertedPendulum-v5", "HalfCheetah-v5")
_GYMNASIUM = list(filter(in_gymnasium, task_names()))
_MJX = [pytest.param(name, marks=[] if name in _QUICK_ON_MJX else pytest.mark.slow) for name in _GYMNASIUM]
_STEEP_CAPSULES = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5")
_TERMINATE = {"Hopper-v5", "Walker2d-v5", "Humanoid-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5"}


@pytest.mark.parametrize("name", _GYMNASIUM)
def test_native_parity_with_gymnasium(name):
    """The same simulation: what differs is that states cross in float32."""
    comparison = differences(name, "native")
    for what, error in comparison["differences"].items():
        assert error.max() < 1e-3, what
        assert np.median(error) < 3e-6, what
    assert comparison["terminations_missed"] == 0
    assert (comparison["terminated"] > 0) == (name in _TERMINATE), "for their parity to mean anything"


@pytest.mark.parametrize("name", _MJX)
def test_mjx_parity_with_gymnasium(name):
    """In float32 most steps agree to 1e-5; a step in which a contact is about to open or close can be far off.

    Steep capsules on the ground are another matter: MJX turns their friction pyramids (docs/tasks.md).
    """
    comparison = differences(name, "mjx", steps=200)
    for what, error in comparison["differences"].items():
        assert np.median(error) < 2e-4, what
        if name not in _STEEP_CAPSULES:
            assert np.quantile(error, 0.95) < 5e-4, what
            assert error.max() < 2e-2, what
    assert comparison["terminations_missed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Ant-v5"])
def test_warp_is_as_near_to_gymnasium_as_mjx_and_resets_by_itself(name):
    errors = differences(name, "mjx", steps=100, mjx_impl="warp")["differences"]
    assert np.median(errors["observation"]) < 2e-4
    assert np.median(errors["reward"]) < 2e-4
    task = load_task(name, "mjx", mjx_impl="warp")
    keys = jax.random.split(jax.random.PRNGKey(0), 6).reshape(2, 3, 2)
    states = jax.vmap(jax.vmap(lambda key: tasks.reset(task, key)))(keys)
    states = states._replace(elapsed=states.elapsed.at[0, 1].set(999))
    step = jax.jit(jax.vmap(jax.vmap(lambda s, a, k: tasks.step_and_reset(task, s, a, k))))
    after, outcome = step(states, jnp.zeros((2, 3, task.action_size)), keys)
    ended = np.zeros((2, 3), bool)
    ended[0, 1] = True
    np.testing.assert_array_equal(outcome.truncated, ended)
    np.testing.assert_array_equal(after.elapsed, np.where(ended, 0, 1))
    assert outcome.finite.all()
    assert (np.abs(after.observation - outcome.observation).max(axis=-1) > 0).tolist() == ended.tolist()


@pytest.mark.parametrize(("tilt", "same"), [(20.0, False), (40.0, True)])
def test_mjx_turns_the_friction_of_steep_capsules(tilt, same):
    """Why Ant differs on MJX (docs/tasks.md): less than 30° from upright its contact frame is not the C engine's."""
    axis = f"{np.sin(np.radians(tilt)) * 0.8} {np.sin(np.radians(tilt)) * 0.6} {np.cos(np.radians(tilt))}"
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><worldbody><geom type="plane" size="1 1 1"/><body pos="0 0 {0.1 + 0.5 * np.cos(np.radians(tilt))}">
        <freejoint/><geom type="capsule" size="0.11 0.5" zaxis="{axis}"/></body></worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    ours = jax.jit(lambda device_data: mjx.collision(model_on_device, mjx.kinematics(model_on_device, device_data)))
    model_on_device = mjx.put_model(model, impl="jax")
    contact = ours(mjx.make_data(model, impl="jax"))._impl.contact
    touching = int(np.argmin(contact.dist))
    assert data.ncon == 1
    np.testing.assert_allclose(contact.dist[touching], data.contact.dist[0], atol=1e-5)
    tangents, theirs = np.asarray(contact.frame[touching]).reshape(3, 3), data.contact.frame[0].reshape(3, 3)
    np.testing.assert_allclose(tangents[0], theirs[0], atol=1e-5)
    np.testing.assert_allclose(theirs[1], [0.8, 0.6, 0.0], atol=1e-5)
    np.testing.assert_allclose(tangents[1], theirs[1] if same else [0.0, 1.0, 0.0], atol=1e-5)


@pytest.mark.slow
def test_the_loop_of_runge_kutta_is_mjxs_own_method():
    """Joints of every kind, three steps. What touches is for the slow tests of parity: it takes long to compile."""
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><option integrator="RK4" timestep="0.02"/><default><geom contype="0" size="0.1 0.2"/></default>
        <worldbody><body><freejoint/><geom type="capsule"/>
        <body pos="0.3 0 0"><joint type="ball"/><geom type="capsule"/>
        <body pos="0.3 0 0"><joint name="hinge"/><geom type="capsule"/>
        <body pos="0 0 0.3"><joint name="slide" type="slide"/><geom type="sphere"/></body></body></body></body>
        </worldbody><actuator><motor joint="hinge"/><motor joint="slide"/></actuator></mujoco>"""
    )
    device_model, generator = mjx.put_model(model, impl="jax"), np.random.default_rng(0)
    qpos, qvel = jnp.float32(model.qpos0), jnp.float32(3 * generator.normal(size=model.nv))
    data = mjx.make_data(model, impl="jax").replace(qpos=qpos, qvel=qvel, ctrl=jnp.array([5.0, -2.0]))
    ours, theirs = data, data
    step, their_step = (jax.jit(lambda d, f=f: f(device_model, d)) for f in (runge_kutta_step, mjx.step))
    for _ in range(3):
        ours, theirs = step(ours), their_step(theirs)
        for name in ("qpos", "qvel", "qacc", "qacc_warmstart", "xpos", "cvel", "time"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=2e-4, atol=2e-4, err_msg=name)
    assert np.abs(ours.qpos - data.qpos).max() > 0.1


@pytest.mark.parametrize("name", ["Ant-v5", "HalfCheetah-v5", "Humanoid-v5"])
def test_fast_physics_is_near_the_exact(name):
    """The typical step is as exact; some are cut short."""
    fast, exact = load_task(name, "native", physics="fast").model.opt, load_task(name, "native").model.opt
    assert (fast.iterations, fast.ls_iterations, fast.solver) == (4, 8, mujoco.mjtSolver.mjSOL_NEWTON)
    assert (fast.integrator, fast.timestep) == (exact.integrator, exact.timestep)
    assert exact.iterations > 4
    comparison = differences(name, "native", steps=200, physics="fast")
    for what, error in comparison["differences"].items():
        assert np.median(error) < 3e-6, what
        assert np.quantile(error, 0.95) < 1e-2, what


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HalfCheetah-v5", {"forward_reward_weight": 2.0, "exclude_current_positions_from_observation": False}),
        ("Hopper-v5", {"healthy_z_range": (1.0, 1.2), "healthy_reward": 3.0, "ctrl_cost_weight": 0.1}),
        ("Hopper-v5", {"terminate_when_unhealthy": False, "healthy_state_range": (-2.0, 2.0)}),
        ("Walker2d-v5", {"healthy_angle_range": (-0.1, 0.3), "exclude_current_positions_from_observation": False}),
        ("Ant-v5", {"include_cfrc_ext_in_observation": False, "healthy_z_range": (0.5, 0.8), "main_body": "torso"}),
        ("Ant-v5", {"contact_force_range": (-0.2, 3.0), "contact_cost_weight": 0.1, "reset_noise_scale": 0.3}),
        ("Humanoid-v5", {"include_cinert_in_observation": False, "include_cfrc_ext_in_observation": False}),
        ("Humanoid-v5", {"contact_cost_range": (0.0, 1e-4), "include_cvel_in_observation": False}),
        ("HumanoidStandup-v5", {"include_qfrc_actuator_in_observation": False, "impact_cost_weight": 1e-3}),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 1.0}),
        ("Reacher-v5", {"reward_dist_weight": 2.0, "reward_control_weight": 0.5}),
        ("Pusher-v5", {"reward_near_weight": 2.0, "reward_dist_weight": 0.1, "reward_control_weight": 1.0}),
        ("InvertedPendulum-v5", {"reset_noise_scale": 0.1}),
        ("InvertedDoublePendulum-v5", {"healthy_reward": 3.0}),
    ],
)
def test_options_are_gymnasiums(name, options):
    comparison = differences(name, "native", steps=60, **options)
    for what, error in comparison["differences"].items():
        assert error.max() < 1e-3, what
    assert comparison["terminations_missed"] == 0
    if "reset_noise_scale" in options:
        check_resets(name, options)


def check_resets(name, options):
    """The first observations are distributed as Gymnasium's are."""
    environment, task = make_gymnasium(name, options), load_task(name, "native", **options)
    theirs = np.stack([environment.reset(seed=seed)[0] for seed in range(1000)])
    ours = jax.vmap(lambda k: tasks.reset(task, k).observation)(jax.random.split(jax.random.PRNGKey(1), 1000))
    spread = theirs.std(axis=0)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 0.2 * spread + 1e-4).all()
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.12, atol=1e-4)
    np.testing.assert_allclose(ours.max(axis=0), theirs.max(axis=0), atol=1.5 * spread.max())
    np.testing.assert_allclose(ours.min(axis=0), theirs.min(axis=0), atol=1.5 * spread.max())


def test_options_that_do_not_exist_are_told():
    for options, message in (
        ({"ctrl_cost": 0.1}, "unknown option of Hopper-v5 'ctrl_cost': did you mean 'ctrl_cost_weight'"),
        ({"healthy_z_range": 0.7}, "task option healthy_z_range must be low,high, not 0.7"),
        ({"healthy_reward": True}, "task option healthy_reward must be a number, not True"),
        ({"terminate_when_unhealthy": 1}, "task option terminate_when_unhealthy must be true or false, not 1"),
        ({"xml_file": "/etc/passwd"}, "unknown option of Hopper-v5 'xml_file'"),
        ({"reset_noise_scale": -1}, "task option reset_noise_scale must be from 0 to 3, not -1"),
        ({"reset_noise_scale": 1e30}, "task option reset_noise_scale must be from 0 to 3, not 1e+30"),
        ({"reset_noise_scale": math.inf}, "task option reset_noise_scale must be finite, not inf"),
        ({"reset_noise_scale": math.nan}, "task option reset_noise_scale must be a number, not nan"),
        ({"healthy_reward": "-inf"}, "task option healthy_reward must be finite, not -inf"),
        ({"ctrl_cost_weight": 1e30}, "task option ctrl_cost_weight must be from -1e+09 to 1e+09, not 1e+30"),
        ({"healthy_z_range": (2.0, 1)}, "task option healthy_z_range must be low,high with low below high, not 2,1"),
        ({"healthy_z_range": ("inf", "inf")}, "with low below high, not inf,inf"),
        ({"healthy_z_range": ("low", "inf")}, "task option healthy_z_range must be low,high, not ('low', inf)"),
    ):
        with pytest.raises(UserError) as caught:
            load_task("Hopper-v5", "native", **options)
        assert message in str(caught.value)
    assert parse_options(("healthy_z_range=0.5,1.2", "ctrl_cost_weight=1e-1", "a=false")) == {
        "healthy_z_range": (0.5, 1.2),
        "ctrl_cost_weight": 0.1,
        "a": False,
    }
    for text in ("healthy_reward", "b=", "=1", "b=1,", "a=1"):
        with pytest.raises(UserError, match="task_options must be name=value"):
            parse_options(("a=1", text))


@pytest.mark.parametrize("body", ["nobody", "", 14, -1, 10**30])
def test_a_main_body_that_the_model_does_not_have_is_told(body):
    with pytest.raises(UserError, match=r"unknown main_body .*: allowed: world, torso, front_left_leg"):
        load_task("Ant-v5", "native", main_body=body)


@pytest.mark.parametrize("name", _GYMNASIUM)
def test_defaults_are_allowed_and_come_back_from_json(name):
    options = describe_task(name)["options"]
    assert checked_options(name, options) == options
    stored = json.dumps(as_json(options), allow_nan=False)
    assert checked_options(name, json.loads(stored)) == options
    assert checked_options(name, parse_options(tuple(options_text(options).split()))) == options


def test_the_texts_of_infinite_numbers_are_the_numbers():
    options = {"healthy_z_range": ["-inf", math.inf], "healthy_reward": 2}
    assert as_json(options) == {"healthy_z_range": ["-inf", "inf"], "healthy_reward": 2}
    assert checked_options("Hopper-v5", as_json(options)) == options | {"healthy_z_range": (-math.inf, math.inf)}


def test_an_option_may_be_infinite_where_its_default_is():
    def define(
        model, speed_limit: float = math.inf, noise_scale: float = 10.0, corner: tuple[float, float] = (1.0, 0.0)
    ):
        raise NotImplementedError

    options = {"speed_limit": math.inf, "noise_scale": 100.0, "corner": (0.0, -1.0)}
    assert check_options("Own-v0", define, options) == options
    with pytest.raises(UserError, match="noise_scale must be finite"):
        check_options("Own-v0", define, {"noise_scale": math.inf})


@pytest.mark.parametrize("name", [param for param in _MJX if param.values[0] not in _STEEP_CAPSULES])
def test_mjx_is_the_same_physics_in_float64(name):
    """What is left of the difference in float64 is nothing: MJX's errors are float32's."""
    task, environment = load_task(name, "native"), make_gymnasium(name, {})
    model, definition = copy.copy(task.model), task.definition
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    generator, rows = np.random.default_rng(3), []
    environment.reset(seed=3)
    for _ in range(50):
        control = tasks.to_control(task, generator.uniform(-1, 1, task.action_size))
        data = environment.unwrapped.data
        rows.append((data.qpos.copy(), data.qvel.copy(), control))
        *_, terminated, truncated, _ = environment.step(control)
        if terminated or truncated:
            environment.reset()
    qpos, qvel, controls = map(np.stack, zip(*rows, strict=True))
    initial = np.concatenate([np.zeros((len(rows), 1)), qpos, qvel], axis=1)
    repeated = np.repeat(controls[:, None], definition.frame_skip, axis=1)
    exact = mujoco.rollout.rollout(model, mujoco.MjData(model), initial, repeated)[0][:, -1, 1:]
    with jax.enable_x64(True):
        engine = make_engine("mjx", model, definition.frame_skip)
        after = jax.jit(jax.vmap(engine.step))(Physics(*map(jnp.asarray, (qpos, qvel))), jnp.asarray(controls))
        ours = np.concatenate([after.qpos, after.qvel], axis=1)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", _GYMNASIUM)
def test_sizes_and_limits_are_gymnasiums(name):
    environment, task = make_gymnasium(name, {}), load_task(name, "native")
    one = np.ones(task.action_size)
    assert environment.observation_space.shape == (task.observation_size,)
    assert environment.action_space.shape == (task.action_size,)
    np.testing.assert_array_equal(environment.action_space.low, tasks.to_control(task, -one))
    np.testing.assert_array_equal(environment.action_space.high, tasks.to_control(task, one))
    assert task.dt == pytest.approx(environment.unwrapped.dt)
    assert task.definition.episode_length == environment.spec.max_episode_steps
    forces = getattr(environment.unwrapped, "observation_structure", {}).get("cfrc_ext", 0)
    assert task.predicted_size == task.observation_size - forces
    check_resets(name, {})


def test_truncation_is_not_termination_and_the_outcome_is_from_before_the_reset():
    task = load_task("HalfCheetah-v5", "native")
    state = tasks.reset(task, jax.random.PRNGKey(0))._replace(elapsed=jnp.int32(998))
    step = jax.jit(lambda s, a, k: tasks.step_and_reset(task, s, a, k))
    action, key = jnp.full(6, 0.5), jax.random.PRNGKey(5)
    state, outcome = step(state, action, key)
    assert not outcome.truncated
    assert state.elapsed == 999
    np.testing.assert_array_equal(state.observation, outcome.observation)
    plain, _ = tasks.step(task, state, action)
    state, outcome = step(state, action, key)
    assert outcome.truncated
    assert not outcome.terminated
    np.testing.assert_array_equal(outcome.observation, plain.observation)
    assert state.elapsed == 0
    assert state.episode_return == 0.0
    np.testing.assert_allclose(state.observation, tasks.reset(task, key).observation, rtol=1e-6)


def test_no_start_is_computed_where_no_episode_ends():
    """The definition's reset runs on the host here, so that its calls can be counted."""
    task, calls = load_task("InvertedPendulum-v5", "native"), []

    def counted(key, at_rest):
        jax.debug.callback(lambda _: calls.append(1), key)
        return task.definition.reset(key, at_rest)

    counting = task._replace(definition=task.definition._replace(reset=counted, episode_length=3))
    keys = jax.random.split(jax.random.PRNGKey(0), 6).reshape(2, 3, 2)
    start = jax.vmap(jax.vmap(lambda key: tasks.reset(task, key)))(keys)
    start = start._replace(elapsed=jnp.array([[0, 0, 0], [0, 1, 0]]))
    step = lambda s, k: tasks.step_and_reset(counting, s, jnp.zeros(1), k)  # noqa: E731
    both = jax.jit(jax.vmap(jax.vmap(step)))
    state, _ = both(start, keys)
    jax.effects_barrier()
    assert calls == []
    state, outcome = both(state, keys)
    jax.effects_barrier()
    assert len(calls) == 6, "one whole batch"
    np.testing.assert_array_equal(outcome.ended, [[False] * 3, [False, True, False]])
    np.testing.assert_array_equal(state.elapsed, [[2, 2, 2], [2, 0, 2]])
    fresh = tasks.reset(task, keys[1, 1])
    np.testing.assert_allclose(state.observation[1, 1], fresh.observation, atol=1e-6)
    np.testing.assert_array_equal(state.observation[0], outcome.observation[0])


def test_batches_within_batches_become_one():
    sizes = []

    def centred(batch, of_none):
        sizes.append(batch["x"].shape)
        return {"y": batch["x"] - batch["x"].mean(axis=0) + 0 * of_none.sum()}

    function, x = as_one_batch(centred), jnp.arange(24.0).reshape(2, 3, 4)
    nothing = jnp.zeros((0, 2))  # an array without elements, the same for all
    deviations = jax.vmap(jax.vmap(lambda row: function({"x": row}, nothing)["y"]))(x)
    assert sizes[-1] == (6, 4)
    np.testing.assert_allclose(deviations, x - x.reshape(6, 4).mean(axis=0))
    np.testing.assert_allclose(function({"x": x[0, 0]}, nothing)["y"], 0.0)


def test_termination_starts_a_new_episode():
    task = load_task("Hopper-v5", "native")
    fallen = task.at_rest._replace(qpos=task.at_rest.qpos.at[1].set(0.5))
    state, outcome = tasks.step_and_reset(task, state_at(task, fallen), jnp.zeros(3), jax.random.PRNGKey(0))
    assert outcome.terminated
    assert not outcome.truncated
    assert outcome.observation[0] < 0.7 < state.observation[0]


@pytest.mark.parametrize("engine", ["native", "mjx"])
@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('<actuator><general joint="hinge" ctrlrange="-1 1" dyntype="filter"/></actuator>', "with activations"),
        (
            '<actuator><motor joint="hinge" ctrlrange="-1 1"/></actuator><worldbody><body mocap="true"/></worldbody>',
            "moc",
        ),
        ('<actuator><motor joint="hinge"/></actuator>', "every actuator of the model needs a ctrlrange"),
    ],
)
def test_models_that_no_engine_simulates_rightly_are_refused(engine, inside, message):
    pendulum = '<body><joint name="hinge" type="hinge"/><geom type="capsule" size="0.1 0.2"/></body>'
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{pendulum}</worldbody>{inside}</mujoco>")
    nothing = Definition(
        frame_skip=1,
        reset=lambda key, at_rest: at_rest,
        observe=lambda physics: physics.qpos,
        reward_terms=lambda before, control, after, dt: {},
        terminated=lambda physics: False,
    )
    with pytest.raises(UserError, match=message):
        tasks.make_task("Own-v0", nothing, model, engine)


def test_engines_are_chosen_by_name():
    model = load_task("InvertedPendulum-v5", "native").model
    for name, mjx_impl, message in (
        ("mjx", "wrap", "unknown mjx_impl 'wrap': did you mean 'warp'"),
        ("native", "warp", "mjx_impl warp is for engine mjx, not for native"),
        ("mxj", "jax", "unknown engine 'mxj': did you mean 'mjx'"),
    ):
        with pytest.raises(UserError, match=message):
            make_engine(name, model, 1, mjx_impl=mjx_impl)


def test_a_changed_model_does_not_change_the_simulation():
    task = load_task("InvertedPendulum-v5", "native")
    pose = task.at_rest._replace(qpos=jnp.array([0.0, 0.1]))
    before = task.engine.step(pose, jnp.zeros(1))
    task.model.opt.gravity[:] = 0.0
    for loaded_task in (task, load_task("InvertedPendulum-v5", "native")):
        np.testing.assert_array_equal(loaded_task.engine.step(pose, jnp.zeros(1)).qvel, before.qvel)


def test_native_engine_gives_the_same_in_any_batch():
    task = load_task("Walker2d-v5", "native")
    keys = jax.random.split(jax.random.PRNGKey(0), 12)
    states = jax.vmap(lambda k: tasks.reset(task, k))(keys)
    actions = jax.vmap(lambda k: jax.random.uniform(k, (6,), minval=-1.0, maxval=1.0))(keys)
    step = lambda s, a: tasks.step(task, s, a)[1].observation  # noqa: E731
    batched = jax.jit(jax.vmap(step))(states, actions)
    nest = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(3, 4, *leaf.shape[1:]), tree)  # noqa: E731
    nested = jax.jit(jax.vmap(jax.vmap(step)))(nest(states), nest(actions)).reshape(batched.shape)
    alone = jnp.stack([step(jax.tree.map(lambda leaf, i=i: leaf[i], states), actions[i]) for i in range(12)])
    np.testing.assert_array_equal(batched, nested)
    np.testing.assert_allclose(batched, alone, atol=1e-6)


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'HalfCheetah-v5'"):
        load_task("halfcheeta-v5")
    with pytest.raises(UserError, match="did you mean 'native'"):
        load_task("Hopper-v5", "nativ")


@pytest.mark.parametrize(("backend", "engine"), [("cpu", "native"), ("gpu", "native"), ("tpu", "mjx")])
def test_the_host_simulates_for_cpus_and_gpus(backend, engine, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert choose_engine("HalfCheetah-v5", "auto") == engine
    assert choose_engine("HalfCheetah-v5", "mjx") == "mjx"
