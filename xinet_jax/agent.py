"""The agent: SAC on the features of an OFENet that is pruned while it learns.

Pure functions over `AgentState` (`xinet_jax.state`): `init`, `act`, `pretrain`, `update`, `prune`, `settle`. The method
is `update`, on one page.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from xinet_jax import folding, gates, losses, pruners, replacement, variational
from xinet_jax.arrays import Key, all_finite
from xinet_jax.config import Config
from xinet_jax.gates import Units
from xinet_jax.networks import Features, Shape, make_networks, policy_distribution, policy_mode
from xinet_jax.replay import Transition
from xinet_jax.state import Agent, AgentState, Hyper, Metrics, gates_read

Tree = Any

# How much each loss weighs in the gradient of its own network's weights.
_WEIGHTS_SCALE = {"ofenet": 1.0, "critic": np.full(2, 0.5, np.float32), "actor": 1.0, "temperature": 1.0}
# What pruning changes: whatever else passed through its conditional would be copied at every update.
_PRUNED = ("params", "target_critic", "statistics", "theta", "alive")
_adam = optax.scale_by_adam()
_average = optax.ema(0.99, debias=True)


def make_agent(config: Config, observation_size: int, action_size: int, predicted_size: int | None = None) -> Agent:
    """Returns the agent that a configuration describes, for a task's sizes.

    Args:
      config: the configuration.
      observation_size, action_size: of the task.
      predicted_size: leading dimensions of the observation that OFENet predicts; all if None.
    """
    sizes = config.networks
    blocks = () if config.agent == "sac" else (sizes.block_units,) * sizes.blocks
    shape = Shape(
        observation=observation_size,
        action=action_size,
        predicted=observation_size if predicted_size is None else predicted_size,
        state_blocks=blocks,
        action_blocks=blocks,
        actor_hidden=tuple(sizes.actor_hidden),
        critic_hidden=tuple(sizes.critic_hidden),
    )
    return Agent(make_networks(shape, config.precision), shape, config.gated, config.pruner, config.pruning)


def make_hyper(config: Config, action_size: int) -> Hyper:
    """Returns the configuration's hyper-parameters as scalars: of several values the first."""
    sac, pruning = config.sac, config.pruning
    return Hyper(
        discount=sac.discount[0],
        tau=sac.tau[0],
        learning_rate=sac.learning_rate[0],
        weight_decay=sac.weight_decay[0],
        target_entropy=-float(action_size) if sac.target_entropy is None else sac.target_entropy[0],
        initial_temperature=sac.initial_temperature[0],
        nu=pruning.nu[0],
        nu_scale={name: getattr(pruning, f"nu_scale_{name}")[0] for name in config.gated},
        theta_learning_rate=pruning.theta_learning_rate[0],
        estimator_floor=pruning.estimator_floor[0],
    )


def init(agent: Agent, hyper: Hyper, key: Key) -> AgentState:
    """Returns a fresh agent: random weights, every gate open."""
    key_ofenet, key_actor, key_critic = jax.random.split(key, 3)
    networks, shape = agent.networks, agent.networks.shape
    ofenet = networks.ofenet.init(key_ofenet, jnp.zeros(shape.observation), jnp.zeros(shape.action))
    params = {
        "ofenet": ofenet.get("params", {}),
        "actor": networks.actor.init(key_actor, jnp.zeros(shape.state_features))["params"],
        "critic": networks.critic.init(key_critic, jnp.zeros(shape.action_features))["params"],
        "temperature": jnp.log(jnp.asarray(hyper.initial_temperature, jnp.float32)),
    }
    return AgentState(
        params=params,
        target_critic=jax.tree.map(jnp.copy, params["critic"]),  # not the same buffers: both are donated
        statistics=ofenet.get("batch_stats", {}),
        optimiser={name: _adam.init(tree) for name, tree in params.items()},
        theta=gates.ones(shape, agent.gated),
        alive=gates.ones(shape, agent.gated),
        origin=gates.original(shape, agent.gated),
        mse_bars=_average.init({"ofenet": jnp.zeros(()), "critic": jnp.zeros(2)}),
        diverged=jnp.bool_(False),
    )


def act(agent: Agent, state: AgentState, observation: Float[Array, "*batch observation"], key: Key | None) -> Array:
    """Returns actions in [-1, 1], `[*batch, action]`; the policy's mode if `key` is None."""
    units = gates_read(agent, state)
    z_o = _state_features(agent, state.params["ofenet"], state.statistics, units, observation)
    output = agent.networks.actor.apply({"params": state.params["actor"]}, z_o, units.get("actor"))
    return policy_mode(output) if key is None else policy_distribution(output).sample(seed=key)


def pretrain(agent: Agent, hyper: Hyper, state: AgentState, batch: Transition) -> tuple[AgentState, Float[Array, ""]]:
    """Takes one step of OFENet alone, on its auxiliary task. Returns the new state and the loss."""

    def loss(params: Tree) -> tuple[Array, Tree]:
        units = gates_read(agent, state).get("ofenet")
        return losses.auxiliary_loss(agent.networks, params, state.statistics, units, batch)

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.params["ofenet"])
    diverged = _diverged(state, (value, statistics), gradient)
    params, optimiser = _descend(hyper, state, {"ofenet": gradient}, diverged)
    statistics = _keep(diverged, state.statistics, statistics)
    return state._replace(params=params, optimiser=optimiser, statistics=statistics, diverged=diverged), value


def update(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    batch: Transition,
    key: Key,
    environment_steps: Int[Array, ""] | int,
    updates: Int[Array, ""] | int,
    more: Callable[[], Transition] | None = None,
) -> tuple[AgentState, Metrics]:
    """Takes one step of every network and, when it is due, of theta; and prunes, when that is due.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far; pruning starts and ramps up by them.
      updates: updates taken so far; theta moves at every `theta_every`-th, units are pruned at every `prune_every`-th.
      more: draws transitions that pruned units' substitutes are learnt from, `[any, ...]`; None: `batch` will do.

    Returns:
      The new state, and the update's figures. If a loss or gradient is not finite, the state stays as it was, from then
      on. Parameters stay finite with them: a step of Adam is bounded, and so are learning rates.
    """
    key_gates, key_next, key_action = jax.random.split(key, 3)
    rules, shape = agent.pruning, agent.networks.shape
    target, z_o = _read(agent, hyper, state, batch, key_next)

    def losses_at(params: dict[str, Tree], units: Units) -> tuple[Tree, tuple[Tree, Metrics]]:
        return _losses(agent, hyper, state, params, units, batch, target, z_o, key_action)

    seen = gates_read(agent, state)
    if agent.pruner == "theta" and rules.weights_see == "sampled":
        seen = gates.sample(gates.uniform(key_gates, agent.dense, state.origin), state.theta)
    loss, pull_back, (statistics, metrics) = jax.vjp(lambda params: losses_at(params, seen), state.params, has_aux=True)
    (gradient,) = pull_back(_like(_WEIGHTS_SCALE, loss))
    mse_bar, mse_bars = _average.update({"ofenet": loss["ofenet"], "critic": loss["critic"]}, state.mse_bars)

    def move_theta() -> tuple[Units, Array]:
        scale = _like(losses.nats(shape.predicted, mse_bar, jnp.exp(state.params["temperature"])), loss)
        in_nats = lambda units: jax.tree.map(jnp.multiply, scale, losses_at(state.params, units)[0])  # noqa: E731
        return variational.step(agent, hyper, state, in_nats, key_gates, environment_steps)

    theta, held = state.theta, metrics.theta_held
    theta_due, prune_due = schedule(agent, environment_steps, updates)
    if agent.pruner == "theta":
        stay = lambda: (state.theta, metrics.theta_held)  # noqa: E731
        theta, held = jax.lax.cond(theta_due, move_theta, stay)

    small = {"statistics": statistics, "theta": theta, "mse_bars": mse_bars}
    diverged = _diverged(state, (loss, small), gradient)
    metrics = metrics._replace(theta_held=jnp.where(diverged, 0.0, held))
    small = {name: _keep(diverged, getattr(state, name), tree) for name, tree in small.items()}
    params, optimiser = _descend(hyper, state, gradient, diverged)
    tau = jnp.where(diverged, 0.0, hyper.tau)
    target_critic = optax.incremental_update(params["critic"], state.target_critic, tau)
    moved = {"params": params, "target_critic": target_critic, "optimiser": optimiser}
    state = state._replace(**moved, **small, diverged=diverged)
    if agent.pruner != "none":
        pruned = lambda: prune(agent, state, batch if more is None else more(), key_gates, environment_steps)  # noqa: E731
        changes = lambda own: {name: getattr(own, name) for name in _PRUNED}  # noqa: E731
        state = state._replace(**jax.lax.cond(prune_due, lambda: changes(pruned()), lambda: changes(state)))
    return state, metrics


def schedule(
    agent: Agent, environment_steps: Int[Array, ""] | int, updates: Int[Array, ""] | int
) -> tuple[Bool[Array, ""] | bool, Bool[Array, ""] | bool]:
    """Returns whether theta moves at an update, and whether units are pruned after it (method, section 4).

    Args:
      agent: the agent.
      environment_steps: steps taken so far.
      updates: updates taken so far.
    """
    if agent.pruner == "none":
        return False, False
    rules = agent.pruning
    active = environment_steps >= min(map(rules.start, agent.gated))
    if agent.pruner != "theta":
        return False, active & (updates % rules.prune_every == 0)
    if rules.prune_stop is not None:
        active = active & (environment_steps <= rules.prune_stop)
    return active & (updates % rules.theta_every == 0), active & (updates % rules.prune_every == 0)


def prune(
    agent: Agent, state: AgentState, batch: Transition, key: Key, environment_steps: Int[Array, ""] | int
) -> AgentState:
    """Prunes the units that have come to their end, by theta or by the schedule (method, sections 4 and 6).

    Args:
      agent, state: the agent. If it has diverged it stays as it is.
      batch: transitions, `[batch, ...]`, that pruned units' substitutes are learnt from.
      key: random key, for the pruner that chooses at random.
      environment_steps: steps taken so far; schedules go by them.
    """
    rules, shape = agent.pruning, agent.networks.shape
    if agent.pruner == "theta":
        theta, alive = gates.prune(state.theta, state.alive, rules.theta_min)
    else:
        score = pruners.PRUNERS[agent.pruner](shape, state.params, state.alive, agent.dense, state.origin, key)
        share = pruners.target_share(rules.final_share, rules.progress(environment_steps - rules.prune_start))
        theta = alive = pruners.prune(agent.dense, shape, score, state.alive, share)
    theta, alive = _keep(state.diverged, (state.theta, state.alive), (theta, alive))
    return state._replace(theta=theta, alive=alive, **_without(agent, state, alive, batch))


def settle(agent: Agent, state: AgentState, batch: Transition) -> AgentState:
    """Ends pruning at `prune_stop`: returns the agent with every gate at 0 or 1 (method, section 4).

    Units of lowest theta are pruned until no more is left than theta expects, though no layer of actor or critic loses
    its last. The gates at which the others were read move into their outgoing weights, so that what they contribute
    stays the same. A diverged agent stays as it is.

    Args:
      agent, state: the agent.
      batch: transitions, `[batch, ...]`, that pruned units' substitutes are learnt from.
    """
    shape = agent.networks.shape
    alive = variational.rounded(agent, state.theta, state.alive)
    units = jax.tree.map(jnp.multiply, gates_read(agent, state), alive)
    moved = _without(agent, state, alive, batch)
    params = folding.fold(shape, moved["params"], units)
    target = folding.fold(shape, moved["params"] | {"critic": moved["target_critic"]}, units)["critic"]
    settled = moved | {"params": moved["params"] | params, "target_critic": target, "theta": alive, "alive": alive}
    return state._replace(**{name: _keep(state.diverged, getattr(state, name), own) for name, own in settled.items()})


def _read(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key
) -> tuple[Float[Array, " batch"], Float[Array, "batch features"]]:
    """Returns what the losses take as given: the critics' targets, and z_o."""
    networks, units = agent.networks, gates_read(agent, state)
    ofenet = (state.params["ofenet"], state.statistics, units)
    z_o = _state_features(agent, *ofenet, batch.observation)
    z_next = _state_features(agent, *ofenet, batch.next_observation)
    action, log_probability = losses.sample_action(networks, state.params["actor"], units.get("actor"), z_next, key)
    z_next_action = _action_features(agent, *ofenet, z_next, action)
    value = losses.lesser(networks.critic.apply({"params": state.target_critic}, z_next_action, units.get("critic")))
    soft_value = value - jnp.exp(state.params["temperature"]) * log_probability
    return batch.reward + hyper.discount * batch.continues * soft_value, z_o


def _losses(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    params: dict[str, Tree],
    units: Units,
    batch: Transition,
    target: Float[Array, " batch"],
    z_o: Float[Array, "batch features"],
    key: Key,
) -> tuple[Tree, tuple[Tree, Metrics]]:
    """Returns every network's loss at its own gates. Whatever a loss reads of other networks, it reads as constants.

    So weights learn from their own network's loss alone, while OFENet's gates answer to the losses of critics and actor
    as well (method, section 3).
    """
    networks, hold, given = agent.networks, jax.lax.stop_gradient, gates_read(agent, state)
    statistics, auxiliary = state.statistics, jnp.zeros(())
    if networks.shape.state_blocks:
        ofenet_gates = units.get("ofenet")
        auxiliary, statistics = losses.auxiliary_loss(networks, params["ofenet"], state.statistics, ofenet_gates, batch)

    fixed = (hold(params["ofenet"]), state.statistics)
    z_own = _state_features(agent, *fixed, units, batch.observation)
    z_own_action = _action_features(agent, *fixed, units, z_own, batch.action)
    critic = losses.critic_loss(networks, params["critic"], units.get("critic"), z_own_action, target)

    z_seen = z_own if agent.pruning.actor_speaks else z_o
    action, log_probability = losses.sample_action(networks, params["actor"], units.get("actor"), z_seen, key)
    z_action = _action_features(agent, *fixed, given, z_o, action)
    value = losses.lesser(networks.critic.apply({"params": hold(params["critic"])}, z_action, given.get("critic")))
    temperature = jnp.exp(hold(params["temperature"]))
    actor = losses.actor_loss(log_probability, value, temperature)

    every = {
        "ofenet": auxiliary,
        "critic": critic,
        "actor": actor,
        "temperature": losses.temperature_loss(params["temperature"], log_probability, hyper.target_entropy),
    }
    entropy, held = -log_probability.mean(), jnp.zeros(())
    metrics = Metrics(auxiliary, critic.mean(), actor, temperature, entropy, value.mean(), held)
    return every, (statistics, metrics)


def _without(agent: Agent, state: AgentState, alive: Units, batch: Transition) -> dict[str, Tree]:
    """Returns parameters, target critics and statistics with substitutes for the units that `alive` prunes (4)."""
    params = state.params | {"target_critic": state.target_critic}
    lost = {name: jax.tree.map(jnp.subtract, state.alive[name], own) for name, own in alive.items()}
    units = gates_read(agent, state)
    params, statistics = replacement.without(agent.networks, params, state.statistics, units, alive, lost, batch)
    target_critic = params.pop("target_critic")
    return {"params": params, "target_critic": target_critic, "statistics": statistics}


def _state_features(agent: Agent, params: Tree, statistics: Tree, units: Units, observation: Array) -> Array:
    variables = {"params": params, "batch_stats": statistics}
    ofenet = agent.networks.ofenet
    return ofenet.apply(variables, observation, units.get("ofenet"), method=ofenet.state_features)


def _action_features(agent: Agent, params: Tree, statistics: Tree, units: Units, z_o: Array, action: Array) -> Features:
    variables = {"params": params, "batch_stats": statistics}
    ofenet = agent.networks.ofenet
    return ofenet.apply(variables, z_o, action, units.get("ofenet"), method=ofenet.action_features)


def _diverged(state: AgentState, small: Tree, gradient: Tree) -> Bool[Array, ""]:
    """Returns whether the agent has diverged, now or before. Adam needs the gradients' squares to be finite."""
    return state.diverged | ~all_finite((small, optax.global_norm(gradient)))


def _keep(diverged: Bool[Array, ""], old: Tree, new: Tree) -> Tree:
    return jax.tree.map(lambda o, n: jnp.where(diverged, o, n), old, new)


def _descend(
    hyper: Hyper, state: AgentState, gradient: dict[str, Tree], diverged: Bool[Array, ""]
) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Takes a step of Adam for the networks that `gradient` names; the others, or a diverged agent, stay as they are.

    Weight decay is decoupled from Adam's scaling (Loshchilov & Hutter 2019, arXiv 1711.05101), and for kernels only.
    """

    def step(path: tuple, p: Array, d: Array) -> Array:
        is_kernel = getattr(path[-1] if path else None, "key", None) == "kernel"
        return p - hyper.learning_rate * (d + hyper.weight_decay * p if is_kernel else d)

    params, optimiser = dict(state.params), dict(state.optimiser)
    for name, g in gradient.items():
        direction, moments = _adam.update(g, optimiser[name])
        optimiser[name] = _keep(diverged, optimiser[name], moments)
        params[name] = _keep(diverged, params[name], jax.tree.map_with_path(step, params[name], direction))
    return params, optimiser


def _like(scale: Tree, loss: Tree) -> Tree:
    return jax.tree.map(lambda s, value: jnp.broadcast_to(jnp.asarray(s, value.dtype), value.shape), scale, loss)
