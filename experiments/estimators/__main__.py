"""Bias and variance of theta's gradient estimators, on a real minibatch of an OFENet agent in training.

An agent learns for some thousand steps with every gate open. Then theta is set to one value for all of OFENet's units,
and for some units the gradient is estimated by every estimator from the same minibatch, many times over. The exact
gradient of a unit is the mean of `l(xi_j = 1) - l(xi_j = 0)` over draws of all other gates (docs/method.md, section 3),
with its own standard error. The loss is the one that OFENet's gates answer to, in nats. The weights learnt beside open
gates, so an open gate is 1 here whatever theta is, and what other losses take as given is read at theta.

    python -m experiments.estimators [--steps 10000] [--units 24] [--draws 1000] [--out experiments/estimators]

Writes `estimators.csv`: a line per estimator and theta.
"""

import argparse
import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent import losses
from xinet_jax.agent.replay import Buffer
from xinet_jax.config import make_config
from xinet_jax.pruning import estimators, gates
from xinet_jax.pruning import theta as thetas
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.program import make_program

THETAS = (0.5, 0.8, 0.95, 0.99)
FLOOR = 0.05  # the default of --estimator-floor


def trained_agent(steps: int, transitions: int = 256, **overrides):
    """Returns an agent, its hyper-parameters, its state after some environment steps, and a minibatch of its replay.

    Args:
      steps: environment steps; pruning would start after them.
      transitions: of the minibatch that is returned.
      **overrides: of other fields of the configuration.
    """
    rules = {"gated": ("ofenet",), "weights_see": "mean", "prune_start": steps, "prune_stop": None}
    rules |= {"prune_ramp": 0, "theta_every": 1, "prune_every": 1}  # a schedule that can prune after the last step
    config = make_config(**({"random_steps": 5_000} | rules | overrides), steps=steps + 1)
    task = load_task(config.task, config.engine)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    hyper = agents.make_hyper(config, task.action_size)
    buffer = Buffer(config.steps, config.sac.batch_size)
    program = make_program(agent, task, buffer, config.eval_episodes, make_mesh(1, 1))
    identities = members.identities(config)
    every = members.hyper_of_members(config, task.action_size, identities)
    state = program.init(every, members.seeds_of_members(identities))
    state, _ = program.collect(state, config.random_steps)
    state, _ = program.pretrain(every, state, config.pretrain_updates)
    state, _ = program.train(every, state, config.random_steps, steps - config.random_steps, 0)
    batch = jax.vmap(buffer._replace(batch_size=transitions).sample, in_axes=(0, None))(
        state.replay, jax.random.PRNGKey(1)
    )
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)  # noqa: E731
    return agent, hyper, first(state.agent), first(batch)


def measure(agent, hyper, state, batch, theta_value: float, chosen: np.ndarray, draws: int, key) -> list[dict]:
    """Returns a row per estimator: bias and standard deviation beside the exact gradient's size."""
    key_noise, key_draws = jax.random.split(key)
    theta = jax.tree.map(lambda leaf: jnp.full_like(leaf, theta_value), state.theta)
    state = state._replace(theta=theta)
    targets = losses.make_targets(agent, hyper, state, batch, key_noise)

    def losses_at(units):
        return losses.compute_losses(agent, hyper, state, state.params, units, batch, targets, key_noise)[0]

    at_mean, alpha = losses_at(theta), jnp.exp(state.params["temperature"])

    def loss(units):
        predicted = agent.networks.shape.predicted
        in_nats = losses.in_nats(losses_at(units), predicted, at_mean.ofenet, at_mean.critic, alpha)
        return thetas.minimised_loss(agent.pruning, in_nats)["ofenet"]

    leaves, structure = jax.tree.flatten(theta)
    ends = np.cumsum([leaf.size for leaf in leaves])
    to_flat = lambda units: jnp.concatenate(jax.tree.leaves(units))  # noqa: E731
    to_units = lambda flat: jax.tree.unflatten(structure, jnp.split(flat, ends[:-1]))  # noqa: E731

    def one_draw(k):
        xi, opposite = gates.sample_antithetic(gates.uniform(k, agent.dense, state.origin), theta)
        gradient = jax.grad(loss)(xi)
        difference = {"ofenet": loss(xi) - loss(opposite)}
        estimates = {name: estimators.estimate(name, gradient, xi, theta, FLOOR) for name in estimators.ESTIMATORS}
        estimates["disarm"] = estimators.disarm(difference, xi, opposite, theta, FLOOR)
        flat = to_flat(xi)
        with_and_without = lambda j: loss(to_units(flat.at[j].set(1.0))) - loss(to_units(flat.at[j].set(0.0)))  # noqa: E731
        exact = jax.lax.map(with_and_without, jnp.asarray(chosen))
        return exact, {name: to_flat(units)[chosen] for name, units in estimates.items()}

    exact, estimates = jax.jit(lambda keys: jax.lax.map(one_draw, keys))(jax.random.split(key_draws, draws))
    truth, error = exact.mean(0), exact.std(0) / draws**0.5
    rows = []
    for name, values in estimates.items():
        bias = values.mean(0) - truth
        rows.append(
            {
                "estimator": name,
                "theta": theta_value,
                "exact_rms": float(jnp.sqrt((truth**2).mean())),
                "bias_rms": float(jnp.sqrt((bias**2).mean())),
                "bias_rms_noise": float(jnp.sqrt((error**2 + values.var(0) / draws).mean())),
                "standard_deviation_rms": float(jnp.sqrt(values.var(0).mean())),
                "correlation_with_exact": float(jnp.corrcoef(values.mean(0), truth)[0, 1]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps before measuring")
    parser.add_argument("--units", type=int, default=24, help="units, spread over all layers")
    parser.add_argument("--draws", type=int, default=1_000, help="draws of all gates")
    parser.add_argument("--out", type=Path, default=Path("experiments/estimators"), help="folder of the CSV file")
    arguments = parser.parse_args()
    agent, hyper, state, batch = trained_agent(arguments.steps)
    total = sum(leaf.size for leaf in jax.tree.leaves(state.theta))
    chosen = np.linspace(0, total - 1, arguments.units).astype(int)
    rows = []
    for theta in THETAS:
        rows += measure(agent, hyper, state, batch, theta, chosen, arguments.draws, jax.random.PRNGKey(2))
        for row in rows[-3:]:
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "estimators.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
