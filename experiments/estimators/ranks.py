"""Which estimator ranks units as leaving them out does, on a dense OFENet agent in training?

An agent learns for some thousand steps with every gate open. Then every unit is replaced by its mean, one at a time,
and the loss that its gate answers to is taken on many transitions, in nats: what the unit is worth. Estimates of it are
made from one minibatch. The table has, for each network, the rank correlation with the worth of units within their
layer, the mean over layers and minibatches, and the passes that the estimate takes.

    python -m experiments.estimators.ranks [--steps 10000] [--out experiments/estimators]

Writes `ranks.csv`: a line per estimate and network.
"""

import argparse
import csv
import functools
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from experiments.estimators.__main__ import trained_agent
from xinet_jax.agent import losses
from xinet_jax.agent.optimiser import averages
from xinet_jax.agent.theta import loss_gradient
from xinet_jax.agent.worth import worth
from xinet_jax.networks.modules import Gate
from xinet_jax.pruning import schedules
from xinet_jax.pruning import theta as thetas

GATED = ("ofenet", "actor", "critic")
TRANSITIONS = 2048  # on which units are left out
PASSES = {"fisher": (1, 4), "heun": (1, 10, 100)}


def left_out(agent, hyper, state, batch, key):
    """Returns how much the loss that each gate answers to rises when its unit is replaced by its mean [nats]."""
    targets = losses.make_targets(agent, hyper, state, batch, key)
    means, alpha = averages(state.mse_bars), jnp.exp(state.params["temperature"])

    def losses_at(units):
        every, _ = losses.compute_losses(agent, hyper, state, state.params, units, batch, targets, key)
        every = losses.in_nats(every, agent.networks.shape.predicted, means["ofenet"], means["critic"], alpha)
        return thetas.minimised_loss(agent.pruning, every)

    leaves, structure = jax.tree.flatten(state.alive)
    sizes = np.cumsum([leaf.size for leaf in leaves])
    flat = jnp.concatenate([leaf.ravel() for leaf in leaves])

    def without(unit):
        parts = jnp.split(flat.at[unit].set(0.0), sizes[:-1])
        xi = jax.tree.unflatten(structure, [p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True)])
        return losses_at(jax.tree.map(lambda x: Gate(x, 1.0 - x), xi))

    at_open = losses_at(jax.tree.map(lambda x: Gate(x, 1.0 - x), state.alive))
    each = jax.lax.map(without, jnp.arange(flat.size))
    rise = jax.tree.map(lambda a, b: a - b, each, at_open)  # ofenet, actor: [units]; critic: [units, 2]
    result, place = [], 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.alive)[0]:
        rows = rise[path[0].key][place : place + leaf.size]
        if rows.ndim == 2:  # each twin answers to its own loss
            rows = jnp.concatenate([rows[: leaf.size // 2, 0], rows[leaf.size // 2 :, 1]])
        result.append(rows.reshape(leaf.shape))
        place += leaf.size
    return jax.tree.unflatten(structure, result)


def correlation(estimate, truth) -> float:
    """Returns the mean over layers of the rank correlation within them."""
    pairs = zip(map(np.atleast_2d, jax.tree.leaves(estimate)), map(np.atleast_2d, jax.tree.leaves(truth)), strict=True)
    return float(np.mean([stats.spearmanr(a, b)[0] for rows in pairs for a, b in zip(*rows, strict=True)]))


def estimates(agent, hyper, state, batch, key):
    """Yields names, passes and estimates of every unit's worth from a minibatch."""
    shape = agent.networks.shape
    none = (agent.dense, state.origin, key)
    yield "magnitude", 0, schedules.magnitude(shape, state.params, state.alive, *none)
    for passes in PASSES["fisher"]:
        yield "fisher", passes, _fisher(agent, passes)(state, batch, key)
    gradients = _heun(agent)(hyper, state, batch, jax.random.split(key, max(PASSES["heun"])))
    for passes in PASSES["heun"]:
        yield "heun", passes, jax.tree.map(lambda leaf, n=passes: -leaf[:n].mean(axis=0), gradients)


@functools.cache
def _fisher(agent, passes):
    return jax.jit(lambda state, batch, key: worth(agent, state, batch, key, passes))


@functools.cache
def _heun(agent):
    def draws(hyper, state, batch, keys):
        return jax.lax.map(lambda key: loss_gradient(agent, hyper, state, batch, key, 10**9), keys)

    return jax.jit(draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps before measuring")
    parser.add_argument("--out", type=Path, default=Path("experiments/estimators"), help="folder of the CSV file")
    arguments = parser.parse_args()
    agent, hyper, state, many = trained_agent(arguments.steps, TRANSITIONS, gated=GATED, weights_see="open")
    key_truth, key_estimate = jax.random.split(jax.random.PRNGKey(2))
    truth = jax.jit(partial(left_out, agent))(hyper, state, many, key_truth)
    rows = []
    for number, start in enumerate(range(0, TRANSITIONS, 256)):
        batch = jax.tree.map(lambda leaf, s=start: leaf[s : s + 256], many)
        for name, passes, estimate in estimates(agent, hyper, state, batch, jax.random.fold_in(key_estimate, number)):
            for network in GATED:
                rows.append((name, passes, network, correlation(estimate[network], truth[network])))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "ranks.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("estimate", "passes", "network", "rank_correlation"))
        for name, passes, network in dict.fromkeys(row[:3] for row in rows):
            values = [row[3] for row in rows if row[:3] == (name, passes, network)]
            writer.writerow((name, passes, network, f"{np.mean(values):.3f}"))
            print(name, passes, network, f"{np.mean(values):.3f}", flush=True)


if __name__ == "__main__":
    main()
