"""A new agent: its static part, its hyper-parameters, and its first state."""

import jax
import jax.numpy as jnp

from xinet_jax.agent.optimiser import adam, average
from xinet_jax.agent.state import Agent, AgentState, Hyper
from xinet_jax.config import SWEPT, Config, to_flat
from xinet_jax.networks import layout, normalisation
from xinet_jax.networks.modules import Shape, make_networks, precision_on
from xinet_jax.types import Key


def make_agent(config: Config, observation_size: int, action_size: int, predicted_size: int | None = None) -> Agent:
    """Returns the agent that a configuration describes, for a task's sizes.

    Args:
      config: the configuration.
      observation_size, action_size: of the task.
      predicted_size: leading dimensions of the observation that OFENet predicts; all if None.
    """
    sizes = config.networks
    blocks = (sizes.block_units,) * sizes.blocks if config.kind.extractor else ()
    shape = Shape(
        observation=observation_size,
        action=action_size,
        predicted=observation_size if predicted_size is None else predicted_size,
        state_blocks=blocks,
        action_blocks=blocks,
        actor_hidden=tuple(sizes.actor_hidden),
        critic_hidden=tuple(sizes.critic_hidden),
    )
    precision = precision_on(jax.default_backend(), config.precision)
    normalises = config.networks.normalize_observations
    return Agent(make_networks(shape, precision), shape, config.gated, config.pruner, config.pruning, normalises)


def make_hyper(config: Config, action_size: int) -> Hyper:
    """Returns the configuration's hyper-parameters as scalars: of several values the first.

    Args:
      config: the configuration.
      action_size: of the task; minus it is the target entropy, where the configuration leaves that open [nats].
    """
    values = to_flat(config)
    if values["target_entropy"] is None:
        values["target_entropy"] = (-float(action_size),)
    return Hyper(**{name: values[name][0] for name in SWEPT})


def init(agent: Agent, hyper: Hyper, key: Key) -> AgentState:
    """Returns a new agent: random weights, every gate open.

    Examples:
      >>> from xinet_jax.config import make_config
      >>> config = make_config(block_units=2, blocks=1, actor_hidden=(4,), critic_hidden=(4,))
      >>> agent, hyper = make_agent(config, observation_size=3, action_size=1), make_hyper(config, action_size=1)
      >>> state = init(agent, hyper, jax.random.key(0))
      >>> state.theta["actor"][0].tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
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
        optimiser={name: adam.init(tree) for name, tree in params.items()},
        theta=layout.ones(shape, agent.gated),
        alive=layout.ones(shape, agent.gated),
        origin=layout.original(shape, agent.gated),
        mse_bars=average.init({"ofenet": jnp.zeros(()), "critic": jnp.zeros(2)}),
        diverged=jnp.bool_(False),
        observations=normalisation.init(shape.observation) if agent.normalises else None,
        waiting=jnp.int32(0) if agent.pruning.actor_waits else None,
    )
