import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALLEST, gradient_of, random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent import losses, pruning
from xinet_jax.agent import theta as agent_theta
from xinet_jax.agent.losses import Losses, Targets
from xinet_jax.config import PruningConfig
from xinet_jax.config.fields import SWEPT
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Gate, TwinCritic
from xinet_jax.pruning import gates
from xinet_jax.pruning import theta as thetas

TWO_LAYERS = {"blocks": 2, "actor_hidden": (7, 6), "critic_hidden": (8, 7)}
FIGURES = thetas.Figures(price=jnp.float32(5), held=jnp.float32(3))
NO_LOSS = Losses(jnp.zeros(()), jnp.zeros(2), jnp.zeros(()), jnp.zeros(()))


def share(agent, units):
    return complexity.share(agent.dense, agent.networks.shape, units, agent.pruning.cost)


def rounded(agent, theta, alive):
    return thetas.rounded(agent.pruning, agent.dense, agent.networks.shape, theta, alive)


def make(key, **overrides):
    smallest = dict(SMALLEST)
    if overrides.get("agent") == "sac":
        del smallest["blocks"]
    config = tiny_config(**smallest | overrides)
    agent = agents.make_agent(config, 17, 6)
    hyper = agents.make_hyper(config, 6)
    return agent, hyper, agents.init(agent, hyper, key)


def without_swept(agent):
    """Returns an agent without the values that are in `hyper`, so that agents share what is compiled."""
    swept = {field.name: field.default for field in dataclasses.fields(PruningConfig) if field.name in SWEPT}
    return agent._replace(pruning=dataclasses.replace(agent.pruning, **swept))


def jitted(agent, hyper):
    """Returns `update` for one agent, compiled once for all ages: `(state, batch, key, steps, updates) -> state`."""
    return functools.partial(_jitted(without_swept(agent)), hyper)


@functools.cache
def _jitted(agent):
    return jax.jit(lambda h, s, b, k, steps, updates: agents.update(agent, h, s, b, k, steps, updates)[0])


def jitted_theta(agent, hyper):
    """Returns a step of theta alone, where the averages of the losses are those of its batch: `(...) -> theta`."""
    return functools.partial(_jitted_theta(without_swept(agent)), hyper)


@functools.cache
def _jitted_theta(agent):
    def step(hyper, state, batch, key, steps):
        averages = agents.update_weights(agent, hyper, state, batch, key)[0].mse_bars
        return agents.update_theta(agent, hyper, state._replace(mse_bars=averages), batch, key, steps)[0].theta

    return jax.jit(step)


def step_of_theta(agent, hyper, state, losses_at, key):
    """Takes a step of theta by any losses, late in training."""
    return agent_theta.step(agent, hyper, state, gradient_of(agent, hyper, state, losses_at, key, 1000), 1000)


def with_theta(state, value):
    return state._replace(theta=jax.tree.map(lambda leaf: jnp.full_like(leaf, value), state.theta))


def changed(before, after):
    return any(np.any(a != b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


@pytest.mark.parametrize("name", ["sac", "ofenet", "xinet"])
def test_update_moves_every_network_and_stays_finite(key, name):
    agent, hyper, state = make(key, agent=name)
    after, metrics = jax.jit(lambda s: agents.update(agent, hyper, s, random_batch(key), key, 100, 0))(state)
    for network in ("actor", "critic", "temperature") + (("ofenet",) if name != "sac" else ()):
        assert changed(state.params[network], after.params[network]), network
    assert changed(state.target_critic, after.target_critic)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, metrics)))
    assert changed(state.theta, after.theta) == (name == "xinet")


def test_ofenets_weights_learn_from_the_auxiliary_loss_alone(key):
    """One update's OFENet is the one that a step of the auxiliary task alone gives."""
    agent, hyper, state = make(key, agent="ofenet")
    batch = random_batch(key)
    joint = jitted(agent, hyper)(state, batch, key, 100, 0)
    alone, _ = jax.jit(lambda s: agents.pretrain(agent, hyper, s, batch))(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), joint.params["ofenet"], alone.params["ofenet"]
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), joint.statistics, alone.statistics)
    assert not changed(alone.params["actor"], state.params["actor"])


def test_critic_target_is_the_soft_bellman_backup_and_stops_at_termination(key):
    agent, hyper, state = make(key, agent="sac")
    batch = random_batch(key)
    target, z_o, _ = losses.make_targets(agent, hyper, state, batch, key)
    np.testing.assert_array_equal(z_o, batch.observation)
    action, log_probability = losses.sample_action(
        agent.networks, state.params["actor"], None, batch.next_observation, key
    )
    inputs = jnp.concatenate([batch.next_observation, action], axis=-1)
    values = agent.networks.critic.apply({"params": state.target_critic}, inputs)
    alpha = np.exp(state.params["temperature"])
    expected = batch.reward + 0.99 * batch.continues * (values.min(0) - alpha * log_probability)
    np.testing.assert_allclose(target, expected, rtol=1e-5)
    ended = np.asarray(batch.continues) == 0
    assert ended.any()
    np.testing.assert_array_equal(target[ended], batch.reward[ended])


def test_losses_in_nats():
    every = Losses(jnp.float32(3.0), jnp.array([5.0, 6.0]), jnp.float32(7.0), jnp.float32(8.0))
    scaled = losses.in_nats(every, 17, jnp.float32(2.0), jnp.array([4.0, 8.0]), jnp.float32(0.5))
    assert scaled.ofenet == 17 / 2 / 2.0 * 3.0
    np.testing.assert_allclose(scaled.critic, [0.5 / 4 * 5.0, 0.5 / 8 * 6.0])
    assert scaled.actor == 2.0 * 7.0
    assert scaled.temperature == 0.0


def test_theta_does_not_notice_the_scale_of_the_rewards(key):
    """Rewards and values 100 times as large, and a temperature to match, give theta the same step."""
    agent, hyper, state = make(key, gated=("critic",), prune_start=21, nu=0.0, theta_learning_rate=1e-3)
    batch, update = random_batch(key), jitted_theta(agent, hyper)
    state = with_theta(state, 0.7)
    scaled = jax.tree.map(jnp.copy, state)
    for critic in (scaled.params["critic"], scaled.target_critic):
        critic["twins"]["head"] = jax.tree.map(lambda leaf: 100 * leaf, critic["twins"]["head"])
    scaled.params["temperature"] += jnp.log(100.0)
    step = update(state, batch, key, 100)
    scaled_step = update(scaled, batch._replace(reward=100 * batch.reward), key, 100)
    assert changed(state.theta, step)
    for start, ours, theirs in zip(*map(jax.tree.leaves, (state.theta, step, scaled_step)), strict=True):
        np.testing.assert_allclose(ours - start, theirs - start, rtol=1e-2, atol=1e-6)


def test_one_bad_minibatch_prunes_nothing(key):
    agent, hyper, state = make(key)
    batch = random_batch(key)
    bad = batch._replace(reward=batch.reward.at[0].set(jnp.inf))
    after = jitted(agent, hyper)(state, bad, key, 100, 0)
    assert not changed(state.alive, after.alive)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.theta))


@pytest.mark.parametrize(
    ("weights_see", "estimator"),
    [
        ("open", "heun"),
        ("mean", "straight_through"),
        ("sampled", "heun"),
        pytest.param("open", "straight_through", marks=pytest.mark.slow),
        pytest.param("mean", "heun", marks=pytest.mark.slow),
        pytest.param("sampled", "straight_through", marks=pytest.mark.slow),
    ],
)
def test_theta_step_is_the_estimate_at_the_sampled_gates(key, weights_see, estimator):
    """Recomputes one theta step by hand: gates drawn, gradient in nats, estimator's weight, projection."""
    settings = {"weights_see": weights_see, "estimator": estimator, "prune_start": 21, "nu": 0.0}
    agent, hyper, state = make(key, theta_learning_rate=1e-3, **settings)
    state, batch = with_theta(state, 0.6), random_batch(key)
    after = jitted_theta(agent, hyper)(state, batch, key, 100)

    key_gates, key_next, key_action = jax.random.split(key, 3)
    kept = 1 - agent.pruning.leave_out
    probability = {"open": kept, "mean": 0.6, "sampled": 0.6}[weights_see]
    xi = gates.sample(gates.uniform(key_gates, agent.dense, state.origin), with_theta(state, probability).theta)
    targets = losses.make_targets(agent, hyper, state, batch, key_next)
    losses_at = lambda units: losses.compute_losses(  # noqa: E731
        agent, hyper, state, state.params, units, batch, targets, key_action
    )[0]
    bars = losses_at({"open": state.alive, "mean": state.theta, "sampled": xi}[weights_see])

    def in_nats(xi):
        # Beside weights that know only the mean gates, a closed gate takes away what its unit contributes now.
        strength = {"open": 1.0, "mean": 0.6}.get(weights_see)
        leave_mean = lambda x: Gate(x * strength, (1 - x) * strength)  # noqa: E731
        every = losses_at(xi if weights_see == "sampled" else jax.tree.map(leave_mean, xi))
        actor = every.actor / jnp.exp(state.params["temperature"])
        return 17 / 2 * every.ofenet / bars.ofenet + (0.5 * every.critic / bars.critic).sum() + actor

    gradient = jax.grad(in_nats)(xi)
    for start, end, g, x in zip(*map(jax.tree.leaves, (state.theta, after, gradient, xi)), strict=True):
        weight = {"heun": 0.5 / np.where(x > 0.5, probability, 1 - probability), "straight_through": 1.0}[estimator]
        np.testing.assert_allclose(end, np.clip(start - 1e-3 * weight * g, 0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights_see", ["open", pytest.param("mean", marks=pytest.mark.slow)])
def test_disarm_step_is_the_difference_of_the_losses_at_antithetic_gates(key, weights_see):
    settings = {"estimator": "disarm", "prune_start": 21, "nu": 0.0, "gated": ("ofenet", "actor", "critic")}
    settings |= {"weights_see": weights_see, "leave_out": 0.3}  # with theta = 0.7 both draw alike
    agent, hyper, state = make(key, theta_learning_rate=1e-3, **settings)
    state, batch = with_theta(state, 0.7), random_batch(key)
    after = jitted_theta(agent, hyper)(state, batch, key, 100)
    key_gates, key_next, key_action = jax.random.split(key, 3)
    xi, opposite = gates.sample_antithetic(gates.uniform(key_gates, agent.dense, state.origin), state.theta)
    targets = losses.make_targets(agent, hyper, state, batch, key_next)
    losses_at = lambda units: losses.compute_losses(  # noqa: E731
        agent, hyper, state, state.params, units, batch, targets, key_action
    )[0]
    strength, seen = {"open": (1.0, state.alive), "mean": (0.7, state.theta)}[weights_see]
    without = lambda units: losses_at(jax.tree.map(lambda x: Gate(x * strength, (1 - x) * strength), units))  # noqa: E731
    mean, a, b = losses_at(seen), without(xi), without(opposite)
    critic = 0.5 * (a.critic - b.critic) / mean.critic
    answer = {"critic": critic[:, None], "actor": (a.actor - b.actor) / np.exp(state.params["temperature"])}
    answer["ofenet"] = 17 / 2 * (a.ofenet - b.ofenet) / mean.ofenet + critic.sum() + answer["actor"]
    for name in settings["gated"]:
        for end, x, o in zip(*(jax.tree.leaves(tree[name]) for tree in (after, xi, opposite)), strict=True):
            expected = np.clip(0.7 - 1e-3 * 0.5 * answer[name] * (x - o) / 0.3, 0, 1)
            np.testing.assert_allclose(end, expected, rtol=1e-4, atol=1e-5)


def test_weight_decay_shrinks_kernels_and_nothing_else(key):
    plain, hyper, state = make(key, agent="ofenet")
    decayed, hyper_decayed, _ = make(key, agent="ofenet", weight_decay=0.1)
    batch = random_batch(key)
    without = jitted(plain, hyper)(state, batch, key, 1, 0).params
    with_decay = jitted(decayed, hyper_decayed)(state, batch, key, 1, 0).params
    leaves = zip(jax.tree.leaves_with_path(state.params), *map(jax.tree.leaves, (without, with_decay)), strict=True)
    for (path, start), a, b in leaves:
        expected = 3e-4 * 0.1 * start if "kernel" in jax.tree_util.keystr(path) else np.zeros_like(start)
        np.testing.assert_allclose(a - b, expected, atol=1e-6, err_msg=jax.tree_util.keystr(path))


def test_weights_learn_at_the_gates_they_are_set_to_see(key):
    """At theta = 0.6, passes at open gates, at the mean gates and at 0/1 draws give the weights different gradients."""
    distance = lambda a, b: max(np.abs(x - y).max() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))  # noqa: E731
    batch, trained = random_batch(key), {}
    for weights_see in ("open", "mean", "sampled"):
        agent, hyper, state = make(key, weights_see=weights_see)
        state = with_theta(state, 0.6)
        trained[weights_see] = jitted(agent, hyper)(state, batch, key, 10, 0).params["ofenet"]
        if weights_see != "sampled":  # OFENet's own step reads the same gates
            alone = jax.jit(lambda s, a=agent, h=hyper: agents.pretrain(a, h, s, batch))(state)[0].params["ofenet"]
            assert distance(trained[weights_see], alone) < 1e-6
    for one, other in itertools.combinations(trained.values(), 2):
        assert distance(one, other) > 1e-5


@pytest.mark.parametrize("cost", ["parameters", pytest.param("flops", marks=pytest.mark.slow)])
def test_each_network_pays_the_price_times_its_multiplier(key, cost):
    scales = {"nu_scale_ofenet": 1.0, "nu_scale_actor": 0.25, "nu_scale_critic": 0.5}
    settings = {"gated": ("ofenet", "actor", "critic"), "prune_start": 21, "prune_ramp": 0, "cost": cost}
    free, hyper, state = make(key, nu=0.0, theta_learning_rate=1e-4, **settings, **scales)
    priced, hyper_priced, _ = make(key, nu=100.0, theta_learning_rate=1e-4, **settings, **scales)
    state, batch = with_theta(state, 0.5), random_batch(key)
    without = jitted_theta(free, hyper)(state, batch, key, 21)
    with_price = jitted_theta(priced, hyper_priced)(state, batch, key, 21)
    price = jax.grad(lambda units: complexity.share(free.dense, free.dense, units, cost))(state.theta)
    for name in settings["gated"]:
        for a, b, unit in zip(*map(jax.tree.leaves, (without[name], with_price[name], price[name])), strict=True):
            np.testing.assert_allclose(a - b, 1e-4 * 100 * scales[f"nu_scale_{name}"] * unit, rtol=2e-2, atol=1e-6)


def test_no_theta_step_before_prune_start(key):
    agent, hyper, state = make(key, prune_start=50, prune_ramp=0, nu=1e6)
    update = jitted(agent, hyper)
    before = update(state, random_batch(key), key, 49, 0)
    assert not changed(state.theta, before.theta)
    after = update(state, random_batch(key), key, 50, 0)
    assert changed(state.theta, after.theta)


def test_no_theta_step_after_prune_stop(key):
    agent, hyper, state = make(key, prune_stop=50, prune_ramp=0, nu=1e6)
    update = jitted(agent, hyper)
    assert changed(state.theta, update(state, random_batch(key), key, 50, 0).theta)
    after = update(state, random_batch(key), key, 51, 0)
    assert not changed(state.theta, after.theta)
    assert not changed(state.alive, after.alive)


def test_settling_rounds_every_gate_and_keeps_what_open_units_contribute(key):
    agent, _, state = make(key, gated=("ofenet", "actor", "critic"), weights_see="mean")
    batch = random_batch(key)
    act = lambda s: agents.act(agent, s, batch.observation, None)  # noqa: E731
    mixed = state._replace(theta=gates.uniform(key, agent.dense, state.origin))
    settled = agents.settle(agent, mixed, batch)
    jax.tree.map(np.testing.assert_array_equal, settled.theta, settled.alive)
    assert changed(settled.target_critic, mixed.target_critic)
    replaced = pruning.without(agent, mixed, settled.alive, batch)  # tests/pruning/test_substitutes.py
    without = mixed._replace(theta=jax.tree.map(jnp.multiply, mixed.theta, settled.alive), **replaced)
    np.testing.assert_allclose(act(settled), act(without), atol=1e-5)

    # Units that were read at gates of 1 all along contribute as much as before.
    opened = agent._replace(pruning=dataclasses.replace(agent.pruning, weights_see="open"))
    fewer = agents.settle(opened, mixed, batch)
    jax.tree.map(np.testing.assert_array_equal, fewer.alive, settled.alive)
    before = mixed._replace(alive=fewer.alive, **pruning.without(opened, mixed, fewer.alive, batch))
    before = agents.act(opened, before, batch.observation, None)
    np.testing.assert_allclose(agents.act(opened, fewer, batch.observation, None), before, atol=1e-5)

    low = agents.settle(agent, with_theta(state, 1e-3), batch)
    assert [leaf.sum() for leaf in jax.tree.leaves(low.theta["ofenet"])] == [0] * 2
    assert [leaf.sum() for leaf in jax.tree.leaves(low.theta["actor"])] == [1]
    assert [leaf.sum() for leaf in jax.tree.leaves(low.theta["critic"])] == [2]


@pytest.mark.parametrize("keep_share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("cost", ["parameters", "flops"])
def test_rounding_leaves_the_units_of_highest_theta_and_no_more_than_was_expected(key, keep_share, cost):
    agent, _, state = make(key, gated=("ofenet", "actor", "critic"), keep_share=keep_share, cost=cost, **TWO_LAYERS)
    theta = gates.uniform(key, agent.dense, state.origin)
    alive = jax.tree.map(lambda t: (t > 0.1).astype(jnp.float32), theta)
    theta = jax.tree.map(jnp.multiply, theta, alive)
    kept = rounded(agent, theta, alive)
    bound = min(float(share(agent, theta)), keep_share or 1.0)
    assert share(agent, kept) <= bound + 1e-6
    open_ones = [t[k > 0.5] for t, k in zip(*map(jax.tree.leaves, (theta, kept)), strict=True)]
    lowest = min(float(layer.min()) for layer in open_ones if layer.size > 2)  # a layer's last one has to stay
    best = max(float((t * (k < 0.5)).max()) for t, k in zip(*map(jax.tree.leaves, (theta, kept)), strict=True))
    assert lowest > best > 0.1
    with_next = jax.tree.map(lambda t, k: jnp.maximum(k, t >= best), theta, kept)
    assert share(agent, with_next) > bound
    for corner in (0.0, 1.0):  # what is rounded already stays
        at = jax.tree.map(lambda mask, c=corner: jnp.full_like(mask, c).at[..., 0].set(1.0), alive)
        if not keep_share:
            jax.tree.map(np.testing.assert_array_equal, rounded(agent, at, at), at)


def test_rounding_splits_units_that_are_equally_good(key):
    """Useful units rest at 1 exactly, and may cost more than they should."""
    agent, _, state = make(key, gated=("ofenet", "actor", "critic"), keep_share=0.5)
    open_ones = jax.tree.map(lambda u: jnp.where(u < 0.7, 1.0, 0.5 * u), gates.uniform(key, agent.dense, state.origin))
    for theta in (open_ones, with_theta(state, 0.8).theta, state.theta):
        kept = rounded(agent, theta, state.alive)
        assert 0.4 < share(agent, kept) <= 0.5
        assert all((k <= (t > 0.6)).all() for k, t in zip(*map(jax.tree.leaves, (kept, theta)), strict=True))


@pytest.mark.parametrize(
    "weights_see", ["open", *(pytest.param(see, marks=pytest.mark.slow) for see in ("mean", "sampled"))]
)
def test_units_that_wait_to_be_pruned_are_not_taken_for_dead_ones(key, weights_see):
    settings = {"weights_see": weights_see, "estimator": "straight_through", "prune_every": 100, "prune_ramp": 0}
    settings |= {"steps": 200}
    gated = ("ofenet", "actor", "critic")
    agent, hyper, state = make(key, gated=gated, nu=1e5, keep_share=0.3, **settings)
    dead = jax.tree.map(lambda mask: mask.at[..., :2].set(0.0), state.alive)
    state = state._replace(alive=dead, theta=dead)
    update = jitted(agent, hyper)
    for count in (1, 2, 3):
        state = update(state, random_batch(jax.random.fold_in(key, count)), key, 1000, count)
        jax.tree.map(np.testing.assert_array_equal, state.alive, dead)
        for theta, mask in zip(*map(jax.tree.leaves, (state.theta, dead)), strict=True):
            assert (theta[mask == 0] == 0).all()
            assert (theta[mask == 1] >= np.float32(agent.pruning.theta_min)).all()


def test_nothing_is_charged_once_no_more_than_a_share_is_expected(key):
    gated = ("ofenet", "actor", "critic")
    agent, hyper, state = make(key, nu=50.0, prune_ramp=0, keep_share=0.5, gated=gated, **TWO_LAYERS)
    losses_at = lambda units: NO_LOSS  # noqa: E731
    step = lambda s: step_of_theta(agent, hyper, s, losses_at, key)[0]  # noqa: E731
    above, below = with_theta(state, 0.8), with_theta(state, 0.4)
    assert share(agent, below.theta) < 0.5 < share(agent, above.theta)
    assert all((new < old).all() for new, old in zip(*map(jax.tree.leaves, (step(above), above.theta)), strict=True))
    jax.tree.map(np.testing.assert_array_equal, step(below), below.theta)


def test_units_whose_gradient_is_not_finite_stay_and_are_counted(key):
    agent, hyper, state = make(key, nu=50.0, prune_ramp=0, gated=("ofenet", "actor", "critic"))
    state = with_theta(state, 0.8)
    bad = jnp.array([0, 2])

    def losses_at(units):
        scale = jax.tree.leaves(units["ofenet"]["state"])[0]
        return NO_LOSS._replace(ofenet=jnp.sqrt(0.0 * scale[bad]).sum())

    theta, figures = step_of_theta(agent, hyper, state, losses_at, key)
    assert figures.held == 2
    layer, moved = state.theta["ofenet"]["state"][0], theta["ofenet"]["state"][0]
    np.testing.assert_array_equal(moved == layer, np.isin(np.arange(layer.size), bad))

    dead = lambda units: units | {"ofenet": with_first_unit_dead(units["ofenet"])}  # noqa: E731
    pruned = state._replace(alive=dead(state.alive), theta=dead(state.theta))
    assert step_of_theta(agent, hyper, pruned, losses_at, key)[1].held == 1


def test_a_step_of_theta_tells_how_many_units_stayed(key, monkeypatch):
    agent, hyper, state = make(key, gated=("ofenet",))
    monkeypatch.setattr(agent_theta, "step", lambda agent, hyper, state, *rest: (state.theta, FIGURES))
    update = lambda state: agents.update_theta(agent, hyper, state, random_batch(key), key, 1000)[1]  # noqa: E731
    assert update(state) == FIGURES
    assert update(state._replace(diverged=jnp.array(True))) == thetas.Figures(0, 0)


def with_first_unit_dead(units):
    first, *others = units["state"]
    return units | {"state": (first.at[0].set(0.0), *others)}


@pytest.mark.parametrize("estimator", ["heun", pytest.param("disarm", marks=pytest.mark.slow)])
def test_the_actors_say_in_ofenets_gates_can_be_taken_away(key, estimator):
    """Another temperature changes the actor's loss in nats, and nothing else that theta sees."""
    settings = {"estimator": estimator, "prune_start": 21, "nu": 0.0, "theta_learning_rate": 0.1}
    for speaks in (True, False):
        agent, hyper, state = make(key, actor_speaks=speaks, **settings)
        state, batch = with_theta(state, 0.6), random_batch(key)._replace(continues=jnp.zeros(16))
        warmer = state._replace(params=state.params | {"temperature": state.params["temperature"] + 1.0})
        update = jitted_theta(agent, hyper)
        thetas = [update(s, batch, key, 100) for s in (state, warmer)]
        difference = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, thetas), strict=True))
        assert (difference > 5e-6) == speaks, difference


def test_theta_moves_every_so_many_updates_with_a_longer_step(key):
    agent, hyper, state = make(key, theta_every=4, theta_learning_rate=1e-5)
    every, hyper_every, _ = make(key, theta_every=1, theta_learning_rate=1e-5)
    batch = random_batch(key)
    update = jitted(agent, hyper)
    skipped = update(state, batch, key, 1000, 3)
    assert not changed(state.theta, skipped.theta)
    long_step = update(state, batch, key, 1000, 4)
    short_step = jitted(every, hyper_every)(state, batch, key, 1000, 4)
    for start, long, short in zip(*map(jax.tree.leaves, (state.theta, long_step.theta, short_step.theta)), strict=True):
        np.testing.assert_allclose(start - long, 4 * (start - short), atol=1e-6)


def test_the_price_ramps_up(key):
    """With the same draw the data's gradient is the same: what differs between two ages is the price alone."""
    agent, hyper, state = make(key, steps=2000, prune_start=100, prune_ramp=100, nu=50.0, theta_learning_rate=1e-4)
    state = with_theta(state, 0.5)
    batch = random_batch(key)
    update = jitted_theta(agent, hyper)
    theta = [update(state, batch, key, steps) for steps in (100, 150, 200, 1000)]
    price = jax.grad(lambda units: complexity.share(agent.dense, agent.dense, units))(state.theta)
    for at_0, half, full, later, unit in zip(*map(jax.tree.leaves, (*theta, price)), strict=True):
        np.testing.assert_allclose(at_0 - half, 1e-4 * 25.0 * unit, rtol=2e-2, atol=1e-7)
        np.testing.assert_allclose(at_0 - full, 1e-4 * 50.0 * unit, rtol=2e-2, atol=1e-7)
        np.testing.assert_array_equal(full, later)


def test_the_lesser_value_has_a_gradient_however_the_program_rounds(key):
    """With `min` 59 of these 320 rows were infinite, where XLA computes what was compared a second time."""
    critic = TwinCritic((1, 1))

    @jax.jit
    def slopes(params, z_o, action):
        return jax.grad(lambda actions: losses.lesser(critic.apply(params, (z_o, actions))).sum())(action)

    @jax.jit
    def every(params, z_o, action):
        return jax.jacrev(lambda actions: critic.apply(params, (z_o, actions)).sum(axis=1))(action)

    for key_case in jax.random.split(key, 20):
        z_o, action = 10 * jax.random.normal(key_case, (16, 17)), jax.random.uniform(key_case, (16, 6))
        params = jax.tree.map(lambda leaf: leaf + 0.3, critic.init(key_case, (z_o, action)))
        values = critic.apply(params, (z_o, action))
        np.testing.assert_array_equal(losses.lesser(values), values.min(axis=0))
        chosen = jnp.where((values[0] < values[1])[:, None], *every(params, z_o, action))
        clear = np.abs(values[0] - values[1]) > 1e-4
        np.testing.assert_allclose(slopes(params, z_o, action)[clear], chosen[clear], rtol=1e-4, atol=1e-6)
    one, nan = jnp.ones(1), jnp.full(1, jnp.nan)
    assert np.isnan(losses.lesser(jnp.stack([one, nan])))
    assert np.isnan(losses.lesser(jnp.stack([nan, one])))


def test_critics_speak_for_ofenets_units(key):
    """Every layer of OFENet's gates gets a gradient from the critics' loss."""
    agent, hyper, state = make(key)
    z_o = jnp.zeros((16, agent.networks.shape.state_features))
    batch, targets = random_batch(key), Targets(jnp.zeros(16), z_o, z_o)

    def critic_loss(units):
        every, _ = losses.compute_losses(agent, hyper, state, state.params, units, batch, targets, key)
        return every.critic.sum()

    gradient = jax.grad(critic_loss)(layout.ones(agent.networks.shape, ("ofenet",)))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_each_networks_gates_answer_to_its_own_loss(key):
    agent, hyper, state = make(key, gated=("ofenet", "actor", "critic"))
    z_o = jax.random.normal(key, (16, agent.networks.shape.state_features))
    batch, targets = random_batch(key), Targets(jnp.zeros(16), z_o, z_o)

    def loss(name):
        def at(units):
            every, _ = losses.compute_losses(agent, hyper, state, state.params, units, batch, targets, key)
            return getattr(every, name).sum()

        gradient = jax.grad(at)(layout.ones(agent.networks.shape))
        return {
            network: max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree)) for network, tree in gradient.items()
        }

    touched = {
        name: {network for network, size in loss(name).items() if size > 0} for name in ("ofenet", "critic", "actor")
    }
    assert touched == {"ofenet": {"ofenet"}, "critic": {"ofenet", "critic"}, "actor": {"ofenet", "actor"}}


def test_a_pruned_unit_never_comes_back(key):
    agent, hyper, state = make(key, gated=("ofenet", "actor", "critic"), prune_start=21, prune_ramp=0, nu=500.0)
    update = jax.jit(lambda s, k, step: agents.update(agent, hyper, s, random_batch(k), k, step, step))
    pretrain = jax.jit(lambda s, k: agents.pretrain(agent, hyper, s, random_batch(k)))
    for step in range(60):
        step_key = jax.random.fold_in(key, step)
        after, _ = update(state, step_key, 100 + step)
        after, _ = pretrain(after, step_key)
        for old, new, theta in zip(*map(jax.tree.leaves, (state.alive, after.alive, after.theta)), strict=True):
            assert (new <= old).all()
            np.testing.assert_array_equal(theta[new == 0], 0.0)
            assert (theta[new == 1] > 0).all()
        state = after
    assert complexity.share(agent.dense, agent.dense, state.alive) < 0.9, "the test must have pruned something"


@pytest.mark.parametrize("kind", ["xinet", "magnitude"])
def test_the_actor_waits_after_units_were_pruned(key, kind):
    """Everything else learns in that time. Where nothing is pruned it learns as always."""
    rules = {"prune_start": 25, "prune_ramp": 0} | ({"gated": ("ofenet", "critic")} if kind == "xinet" else {})
    agent, hyper, state = make(key, agent=kind, actor_waits=2, **rules | {"prune_every": 30})
    assert state.waiting == 0
    update, prune = jitted(agent, hyper), jax.jit(functools.partial(agents.prune, agent))
    batch, actor = random_batch(key), lambda state: (state.params["actor"], state.optimiser["actor"])
    learnt = update(state, batch, key, 30, 1)
    assert changed(actor(state), actor(learnt))
    assert learnt.waiting == 0
    if kind == "xinet":
        assert prune(learnt, batch, key, 30).waiting == 0, "no unit has gone"
        layer = learnt.theta["critic"][0].at[:, 1].set(0.0)
        learnt = learnt._replace(theta=learnt.theta | {"critic": (layer, *learnt.theta["critic"][1:])})
    cut = prune(learnt, batch, key, 30)
    assert cut.waiting == 2
    once = update(cut, batch, key, 31, 2)
    twice = update(once, batch, key, 32, 3)
    jax.tree.map(np.testing.assert_array_equal, actor(cut), actor(twice))
    for name in ("ofenet", "critic", "temperature"):
        assert changed(cut.params[name], once.params[name]), name
    assert (once.waiting, twice.waiting) == (1, 0)
    assert changed(actor(twice), actor(update(twice, batch, key, 33, 4)))
    if kind == "xinet":
        settled = jax.jit(functools.partial(agents.settle, agent))(with_theta(learnt, 0.3), batch)
        assert settled.waiting == 2


def test_each_member_waits_by_itself(key):
    rules = {"gated": ("ofenet", "critic"), "prune_start": 25, "prune_ramp": 0, "prune_every": 30}
    agent, _, state = make(key, actor_waits=2, **rules)
    layer = state.theta["critic"][0].at[:, 1].set(0.0)
    losing = state._replace(theta=state.theta | {"critic": (layer, *state.theta["critic"][1:])})
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, losing)
    prune = jax.jit(jax.vmap(lambda one: agents.prune(agent, one, random_batch(key), key, 30)))
    np.testing.assert_array_equal(prune(both).waiting, [0, 2])


def test_an_actor_that_never_waits_has_no_count(key):
    assert make(key)[2].waiting is None


def test_a_dead_units_weights_change_nothing(key):
    agent, hyper, state = make(key)
    dead = with_theta(state, 1.0)
    layer = dead.theta["ofenet"]["state"][0].at[2].set(0.0)
    theta = {"ofenet": dead.theta["ofenet"] | {"state": (layer, *dead.theta["ofenet"]["state"][1:])}}
    dead = dead._replace(theta=theta, alive=theta)
    disturbed = jax.tree.map(jnp.copy, dead)
    kernel = disturbed.params["ofenet"]["state"]["input"]["kernel"]
    disturbed.params["ofenet"]["state"]["input"]["kernel"] = kernel.at[:, 2].set(7.0)
    observation = random_batch(key).observation
    act = lambda s: agents.act(agent, s, observation, None)  # noqa: E731
    np.testing.assert_array_equal(act(dead), act(disturbed))
    update = jitted(agent, hyper)
    updated, also = (update(s, random_batch(key), key, 30, 1) for s in (dead, disturbed))
    np.testing.assert_allclose(act(updated), act(also), atol=1e-6)
    updated, also = (update(s, random_batch(key), key, 30, 0).theta for s in (dead, disturbed))
    assert changed(dead.theta, updated)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updated, also)


def test_a_rarely_left_out_unit_is_valued_without_bias(key):
    """The floor is for theta near 0 and 1, and must not bend what is drawn as rarely as was asked for."""
    agent, hyper, state = make(key, prune_start=21, leave_out=0.02)
    is_gate = lambda x: isinstance(x, Gate)  # noqa: E731
    loss = lambda units: NO_LOSS._replace(  # noqa: E731
        ofenet=sum(jnp.square(1 - gate.scale).sum() for gate in jax.tree.leaves(units, is_leaf=is_gate))
    )
    estimate = jax.jit(jax.vmap(lambda k: gradient_of(agent, hyper, state, loss, k, 30)))
    gradients = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(estimate(jax.random.split(key, 10_000)))])
    assert gradients.mean() == pytest.approx(-1.0, abs=0.05)  # the loss falls from 1 to 0 as a gate opens


def test_no_unit_is_left_out_of_networks_that_wait(key):
    settings = {"gated": ("ofenet", "critic"), "prune_start": 21, "prune_start_critic": 40, "leave_out": 0.5}
    agent, hyper, state = make(key, estimator="disarm", **settings)
    for steps, complete in ((39, True), (40, False)):
        read = []

        def losses_at(units, read=read):
            read.append(units)
            return NO_LOSS

        gradient_of(agent, hyper, state, losses_at, key, steps)
        assert all((layer.scale == 1).all() for layer in read[0]["critic"]) == complete
        assert any((layer.scale == 0).any() for layer in read[0]["ofenet"]["state"])


def test_actions_are_bounded_and_the_mode_is_deterministic(key):
    agent, _, state = make(key)
    observation = 10 * jax.random.normal(key, (100, 17))
    noisy = agents.act(agent, state, observation, key)
    assert noisy.shape == (100, 6)
    assert (np.abs(noisy) <= 1).all()
    mode = agents.act(agent, state, observation, None)
    np.testing.assert_array_equal(mode, agents.act(agent, state, observation, None))
    assert changed(noisy, mode)
