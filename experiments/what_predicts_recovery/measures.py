"""What is measured of one agent: what a cut does to its outputs, and how much its networks can still learn."""

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax.agent import losses
from xinet_jax.agent.optimiser import averages
from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.agent.worth import standardised_outputs
from xinet_jax.pruning import substitutes
from xinet_jax.types import Key, Transition, Tree

DORMANT = 0.025  # share of the layer's mean activity below which a unit is dormant (Sokar et al. 2023)


def outputs(agent: Agent, state: AgentState, batch: Transition) -> dict[str, jax.Array]:
    """Returns prediction and action values in standard deviations of their errors, and the policy's Gaussian."""
    every = standardised_outputs(agent, state, batch, acting_gates(agent, state))
    std = jnp.exp(every["log_std"] / jnp.sqrt(2.0))
    return {"prediction": every["prediction"], "value": every["value"], "mean": every["mean"] * std, "std": std}


def harm(before: dict[str, jax.Array], after: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns how far outputs have moved [nats per transition].

    Args:
      before, after: from `outputs`, of the same transitions and with the same moving errors.

    Returns:
      Half the squared change of the prediction and of both action values, and `KL(before || after)` of the policy.
    """
    half = {
        name: 0.5 * jnp.square(after[name] - before[name]).sum() / before["mean"].shape[0]
        for name in ("prediction", "value")
    }
    ratio = before["std"] / after["std"]
    shift = (after["mean"] - before["mean"]) / after["std"]
    divergence = 0.5 * (jnp.square(ratio) + jnp.square(shift) - 1.0) - jnp.log(ratio)
    return {"harm_ofenet": half["prediction"], "harm_critic": half["value"], "harm_actor": divergence.sum(-1).mean()}


def plasticity(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> dict[str, jax.Array]:
    """Returns losses, effective ranks, dormant units and gradients.

    Args:
      agent, hyper, state: the agent.
      batch: transitions as the networks take them, `[batch, ...]`.
      key: random key for the actions.

    Returns:
      Losses [nats]; by network the effective rank of its hidden units (Roy & Vetterli 2007, the mean over layers), the
      share of dormant units, and the root mean square of the gradient of its own loss by its kernels.
    """
    key_next, key_action = jax.random.split(key)
    targets = losses.make_targets(agent, hyper, state, batch, key_next)

    def total(params: Tree) -> tuple[jax.Array, losses.Losses]:
        every, _ = losses.compute_losses(agent, hyper, state, params, None, batch, targets, key_action)
        return losses.weights_loss(every), every

    gradient, every = jax.grad(total, has_aux=True)(state.params)
    means = averages(state.mse_bars)
    result = {
        "loss_ofenet": every.ofenet / means["ofenet"],
        "loss_critic": (every.critic / means["critic"]).mean(),
        "error_ofenet": every.ofenet,
        "error_critic": every.critic.mean(),
    }
    hidden = substitutes.outputs(agent.networks, state.params, state.statistics, acting_gates(agent, state), batch)
    for name, layers in hidden.items():
        leaves = [leaf for leaf in jax.tree.leaves(layers) if leaf.shape[-1]]
        result[f"rank_{name}"] = jnp.stack([effective_rank(leaf) for leaf in leaves]).mean()
        result[f"dormant_{name}"] = dormant(leaves)
        kernels = [leaf.ravel() for leaf in jax.tree.leaves(gradient[name]) if leaf.ndim > 1]
        result[f"gradient_{name}"] = jnp.sqrt(jnp.square(jnp.concatenate(kernels)).mean())
    return result


def effective_rank(outputs: jax.Array) -> jax.Array:
    """Returns `exp(H)`, H the entropy of the normalised singular values of the outputs, less their means.

    Args:
      outputs: of a layer, `[*twins, batch, units]`. Of twins the mean is returned.
    """
    deviation = outputs - outputs.mean(axis=-2, keepdims=True)
    values = jnp.linalg.eigvalsh(jnp.einsum("...bi,...bj->...ij", deviation, deviation))
    values = jnp.sqrt(jnp.maximum(values, 0.0))
    share = values / jnp.maximum(values.sum(axis=-1, keepdims=True), 1e-12)
    entropy = -jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-12)), 0.0).sum(axis=-1)
    return jnp.exp(entropy).mean()


def dormant(layers: list[jax.Array]) -> jax.Array:
    """Returns the share of units whose mean absolute output is at most `DORMANT` of their layer's mean."""
    silent = []
    for layer in layers:
        activity = jnp.abs(layer).mean(axis=-2)
        silent.append((activity <= DORMANT * activity.mean(axis=-1, keepdims=True)).ravel())
    return jnp.concatenate(silent).mean()


def as_numbers(of_members: dict[str, jax.Array], row: int) -> dict[str, float]:
    """Returns one member's measures, to six digits."""
    return {name: float(f"{float(np.asarray(value)[row]):.6g}") for name, value in of_members.items()}
