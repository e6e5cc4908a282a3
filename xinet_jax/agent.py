"""The agent: SAC on the features of an OFENet that is pruned while it learns.

Pure functions over `AgentState`: `init`, `act`, `pretrain`, `update`. `update` is the method, on one page.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from xinet_jax import complexity, folding, gates, losses, pruners
from xinet_jax.arrays import Key
from xinet_jax.config import Config, PruningConfig
from xinet_jax.gates import Units
from xinet_jax.networks import Networks, Shape, make_networks, policy_distribution, policy_mode
from xinet_jax.replay import Transition

Tree = Any

# How much each loss weighs in the gradient of its own network's weights.
_WEIGHTS_SCALE = {"ofenet": 1.0, "critic": jnp.full(2, 0.5), "actor": 1.0, "temperature": 1.0}
_adam = optax.scale_by_adam()
_average = optax.ema(0.99, debias=True)


class Agent(NamedTuple):
    """What is static about an agent.

    Attributes:
      networks: the modules, and the sizes that they have now.
      dense: the sizes before pruning.
      gated: the networks whose units carry gates.
      pruner: what moves the gates: `theta` (XiNet's gradient), one of `xinet_jax.pruners`, or `none`.
      pruning: the rules of pruning.
    """

    networks: Networks
    dense: Shape
    gated: tuple[str, ...]
    pruner: str
    pruning: PruningConfig


class Hyper(NamedTuple):
    """Hyper-parameters as leaves: they may differ from member to member. Names as in `xinet_jax.config`."""

    discount: Float[Array, "*members"] | float
    tau: Float[Array, "*members"] | float
    learning_rate: Float[Array, "*members"] | float
    weight_decay: Float[Array, "*members"] | float
    target_entropy: Float[Array, "*members"] | float
    initial_temperature: Float[Array, "*members"] | float
    nu: Float[Array, "*members"] | float
    nu_scale: dict[str, Float[Array, "*members"] | float]
    theta_learning_rate: Float[Array, "*members"] | float


class AgentState(NamedTuple):
    """What changes while an agent learns.

    Attributes:
      params: `{"ofenet", "actor", "critic", "temperature"}`; the temperature is the logarithm of alpha.
      target_critic: the critics' slow copy.
      statistics: OFENet's running means and variances.
      optimiser: Adam's moments, per entry of `params`.
      theta: the probability that each gate is open (`xinet_jax.gates`).
      alive: 1.0 for every unit not pruned, 0.0 for good once it is.
      origin: every unit's index within its layer before pruning: its random draws stay its own after a compaction.
      mse_bars: moving averages of the mean squared errors of OFENet and critics.
    """

    params: dict[str, Tree]
    target_critic: Tree
    statistics: Tree
    optimiser: dict[str, optax.OptState]
    theta: Units
    alive: Units
    origin: Units
    mse_bars: optax.OptState


class Metrics(NamedTuple):
    """One update's figures: losses, alpha [reward per nat], policy entropy [nats], mean action value."""

    auxiliary_loss: Float[Array, "*members"]
    critic_loss: Float[Array, "*members"]
    actor_loss: Float[Array, "*members"]
    temperature: Float[Array, "*members"]
    entropy: Float[Array, "*members"]
    action_value: Float[Array, "*members"]


def make_agent(config: Config, observation_size: int, action_size: int) -> Agent:
    """Returns the agent that a configuration describes, for a task's sizes."""
    sizes = config.networks
    blocks = () if config.agent == "sac" else (sizes.block_units,) * sizes.blocks
    shape = Shape(
        observation=observation_size,
        action=action_size,
        predicted=observation_size,
        state_blocks=blocks,
        action_blocks=blocks,
        actor_hidden=tuple(sizes.actor_hidden),
        critic_hidden=tuple(sizes.critic_hidden),
    )
    return Agent(make_networks(shape), shape, config.gated, config.pruner, config.pruning)


def make_hyper(config: Config, action_size: int) -> Hyper:
    """Returns the configuration's hyper-parameters as scalars."""
    sac, pruning = config.sac, config.pruning
    return Hyper(
        discount=sac.discount,
        tau=sac.tau,
        learning_rate=sac.learning_rate,
        weight_decay=sac.weight_decay,
        target_entropy=-float(action_size) if sac.target_entropy is None else sac.target_entropy,
        initial_temperature=sac.initial_temperature,
        nu=pruning.nu[0],
        nu_scale={name: getattr(pruning, f"nu_scale_{name}") for name in config.gated},
        theta_learning_rate=pruning.theta_learning_rate,
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
    )


def act(agent: Agent, state: AgentState, observation: Float[Array, "*batch observation"], key: Key | None) -> Array:
    """Returns actions in [-1, 1], `[*batch, action]`, read at the mean gates; the policy's mode if `key` is None."""
    z_o = _state_features(agent, state.params["ofenet"], state.statistics, state.theta, observation)
    output = agent.networks.actor.apply({"params": state.params["actor"]}, z_o, state.theta.get("actor"))
    return policy_mode(output) if key is None else policy_distribution(output).sample(seed=key)


def pretrain(agent: Agent, hyper: Hyper, state: AgentState, batch: Transition) -> tuple[AgentState, Float[Array, ""]]:
    """Takes one step of OFENet alone, on its auxiliary task. Returns the new state and the loss."""

    def loss(params: Tree) -> tuple[Array, Tree]:
        return losses.auxiliary_loss(agent.networks, params, state.statistics, state.theta.get("ofenet"), batch)

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.params["ofenet"])
    params, optimiser = _descend(hyper, state, {"ofenet": gradient})
    return state._replace(params=params, optimiser=optimiser, statistics=statistics), value


def update(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    batch: Transition,
    key: Key,
    environment_steps: Int[Array, ""] | int,
    updates: Int[Array, ""] | int,
) -> tuple[AgentState, Metrics]:
    """Takes one step of every network and, when it is due, of theta.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far; pruning starts and ramps up by them.
      updates: updates taken so far; theta moves at every `theta_every`-th.

    Returns:
      The new state, and the update's figures.
    """
    key_gates, key_next, key_action = jax.random.split(key, 3)
    rules, shape = agent.pruning, agent.networks.shape
    target, z_o = _read(agent, hyper, state, batch, key_next)

    def draw() -> Units:
        return gates.uniform(key_gates, agent.dense, state.origin)

    def losses_at(params: dict[str, Tree], units: Units) -> tuple[Tree, tuple[Tree, Metrics]]:
        return _losses(agent, hyper, state, params, units, batch, target, z_o, key_action)

    both_sampled = agent.pruner == "theta" and rules.weights_see == "sampled"

    def losses_without(xi: Units) -> tuple[Tree, tuple[Tree, Metrics]]:
        """The losses of the networks as they are, less the units whose gates are drawn shut (method, section 3)."""
        return losses_at(state.params, xi if both_sampled else jax.tree.map(jnp.multiply, xi, state.theta))

    seen = gates.sample(draw(), state.theta) if both_sampled else state.theta
    loss, pull_back, (statistics, metrics) = jax.vjp(losses_at, state.params, seen, has_aux=True)
    gradient, _ = pull_back(_like(_WEIGHTS_SCALE, loss))
    params, optimiser = _descend(hyper, state, gradient)
    target_critic = optax.incremental_update(params["critic"], state.target_critic, hyper.tau)
    mse_bar, mse_bars = _average.update({"ofenet": loss["ofenet"], "critic": loss["critic"]}, state.mse_bars)

    def move_theta() -> tuple[Units, Units]:
        scale = _like(losses.nats(shape.predicted, mse_bar, jnp.exp(state.params["temperature"])), loss)
        if rules.estimator == "disarm":
            xi, opposite = gates.sample_antithetic(draw(), state.theta)
            pair = (losses_without(units)[0] for units in (xi, opposite))
            scaled = jax.tree.map(lambda s, a, b: s * (a - b), scale, *pair)
            gradient = gates.disarm(_who_pays(agent, scaled), xi, opposite, state.theta, rules.estimator_floor)
        else:
            if both_sampled:
                xi, (_, gate_gradient) = seen, pull_back(scale)
            else:
                xi = gates.sample(draw(), state.theta)
                _, pull_back_gates, _ = jax.vjp(losses_without, xi, has_aux=True)
                (gate_gradient,) = pull_back_gates(scale)
            gradient = gates.estimate(rules.estimator, gate_gradient, xi, state.theta, rules.estimator_floor)
        price = jax.grad(lambda theta: complexity.share(agent.dense, shape, theta, rules.cost))(state.theta)
        for name in agent.gated:
            age = environment_steps - rules.start(name)
            nu = hyper.nu * hyper.nu_scale[name] * rules.progress(age)
            rise = lambda g, p, nu=nu, age=age: jnp.where(age < 0, 0.0, g + nu * p)  # noqa: E731
            gradient[name] = jax.tree.map(rise, gradient[name], price[name])
        theta = gates.descend(state.theta, gradient, hyper.theta_learning_rate * rules.theta_every)
        return gates.prune(theta, state.alive, rules.theta_min)

    def follow_schedule() -> tuple[Units, Units]:
        score = pruners.PRUNERS[agent.pruner](shape, params, state.alive, agent.dense, state.origin, key_gates)
        share = pruners.target_share(rules.final_share, rules.progress(environment_steps - rules.prune_start))
        alive = pruners.prune(agent.dense, shape, score, state.alive, share)
        return alive, alive

    theta, alive = state.theta, state.alive
    if agent.pruner != "none":
        by_theta = agent.pruner == "theta"
        step, every = (move_theta, rules.theta_every) if by_theta else (follow_schedule, pruners.PRUNE_EVERY)
        due = (environment_steps >= min(map(rules.start, agent.gated))) & (updates % every == 0)
        if by_theta and rules.prune_stop is not None:
            due &= environment_steps <= rules.prune_stop
        theta, alive = jax.lax.cond(due, step, lambda: (state.theta, state.alive))
    return AgentState(params, target_critic, statistics, optimiser, theta, alive, state.origin, mse_bars), metrics


def settle(agent: Agent, state: AgentState) -> AgentState:
    """Ends pruning at `prune_stop`: returns the agent with every gate at 0 or 1 (method, section 4).

    Units whose gates are more likely shut than open are pruned, though no layer of actor or critic loses its last. The
    mean gates of the others move into their outgoing weights, so that what they contribute stays the same.
    """
    shape = agent.networks.shape
    _, alive = gates.prune(state.theta, state.alive, 0.5)
    units = jax.tree.map(jnp.multiply, state.theta, alive)
    params = folding.fold(shape, state.params, units)
    target = folding.fold(shape, state.params | {"critic": state.target_critic}, units)["critic"]
    return state._replace(params=state.params | params, target_critic=target, theta=alive, alive=alive)


def _read(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key
) -> tuple[Float[Array, " batch"], Float[Array, "batch features"]]:
    """Returns what the losses take as given, read at the mean gates: the critics' targets, and z_o."""
    networks, theta = agent.networks, state.theta
    ofenet = (state.params["ofenet"], state.statistics, theta)
    z_o = _state_features(agent, *ofenet, batch.observation)
    z_next = _state_features(agent, *ofenet, batch.next_observation)
    action, log_probability = losses.sample_action(networks, state.params["actor"], theta.get("actor"), z_next, key)
    z_next_action = _action_features(agent, *ofenet, z_next, action)
    value = networks.critic.apply({"params": state.target_critic}, z_next_action, theta.get("critic")).min(axis=0)
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
    networks, hold = agent.networks, jax.lax.stop_gradient
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
    z_action = _action_features(agent, *fixed, hold(state.theta), z_o, action)
    critic_params, critic_gates = hold(params["critic"]), hold(state.theta).get("critic")
    value = networks.critic.apply({"params": critic_params}, z_action, critic_gates).min(axis=0)
    temperature = jnp.exp(hold(params["temperature"]))
    actor = losses.actor_loss(log_probability, value, temperature)

    every = {
        "ofenet": auxiliary,
        "critic": critic,
        "actor": actor,
        "temperature": losses.temperature_loss(params["temperature"], log_probability, hyper.target_entropy),
    }
    metrics = Metrics(auxiliary, critic.mean(), actor, temperature, -log_probability.mean(), value.mean())
    return every, (statistics, metrics)


def _who_pays(agent: Agent, loss: Tree) -> dict[str, Array]:
    """Returns the loss that each network's gates answer to: `[]`, and `[2]` for the critics' (method, section 3)."""
    ofenet = loss["ofenet"] + loss["critic"].sum() + (loss["actor"] if agent.pruning.actor_speaks else 0.0)
    return {"ofenet": ofenet, "actor": loss["actor"], "critic": loss["critic"]}


def _state_features(agent: Agent, params: Tree, statistics: Tree, units: Units, observation: Array) -> Array:
    variables = {"params": params, "batch_stats": statistics}
    ofenet = agent.networks.ofenet
    return ofenet.apply(variables, observation, units.get("ofenet"), method=ofenet.state_features)


def _action_features(agent: Agent, params: Tree, statistics: Tree, units: Units, z_o: Array, action: Array) -> Array:
    variables = {"params": params, "batch_stats": statistics}
    ofenet = agent.networks.ofenet
    return ofenet.apply(variables, z_o, action, units.get("ofenet"), method=ofenet.action_features)


def _descend(hyper: Hyper, state: AgentState, gradient: dict[str, Tree]) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Takes a step of Adam for the networks that `gradient` names; the others stay as they are.

    Weight decay is decoupled from Adam's scaling (Loshchilov & Hutter 2019, arXiv 1711.05101), and for kernels only.
    """

    def step(path: tuple, p: Array, d: Array) -> Array:
        is_kernel = getattr(path[-1] if path else None, "key", None) == "kernel"
        return p - hyper.learning_rate * (d + hyper.weight_decay * p if is_kernel else d)

    params, optimiser = dict(state.params), dict(state.optimiser)
    for name, g in gradient.items():
        direction, optimiser[name] = _adam.update(g, optimiser[name])
        params[name] = jax.tree.map_with_path(step, params[name], direction)
    return params, optimiser


def _like(scale: Tree, loss: Tree) -> Tree:
    return jax.tree.map(lambda s, value: jnp.broadcast_to(jnp.asarray(s, value.dtype), value.shape), scale, loss)
