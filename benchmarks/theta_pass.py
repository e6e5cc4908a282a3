"""What share of an update's time goes into theta's own pass, into pruning, and what do open gates cost?

One update of the dense agent, of XiNet when nothing is due, when theta is, and when units are pruned (3% of every
layer), in turn, with donated state. The pass is due at every `theta_every`-th update and pruning at every hundredth:
their shares are their extra time divided by that, beside an update without.

    python benchmarks/theta_pass.py [--preset quick] [--estimator heun] [--json]
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from xinet_jax import agent as agents
from xinet_jax.agent.replay import MORE
from xinet_jax.config import make_config
from xinet_jax.config.names import ESTIMATORS
from xinet_jax.types import Transition

OBSERVATION, ACTION, UPDATES, REPEATS = 17, 6, 40, 9
PRUNE_EVERY = 100
EVERY = (1, 2, 4, 8, 100)


def make_loop(config, due=None):
    """Returns a compiled loop of updates, and a state: `(state, count) -> state`.

    Args:
      config: the agent's configuration.
      due: what follows each update: `theta`, `pruning` or nothing.
    """
    agent = agents.make_agent(config, OBSERVATION, ACTION)
    hyper = agents.make_hyper(config, ACTION)
    key = jax.random.PRNGKey(0)
    size = config.sac.batch_size
    rows = jax.random.normal(key, (MORE * size, OBSERVATION))
    several = Transition(rows, jnp.tanh(rows[:, :ACTION]), rows[:, 0], rows + 0.1, jnp.ones(MORE * size))
    batch = jax.tree.map(lambda leaf: leaf[:size], several)

    def loop(state, count):
        def body(i, state):
            key_weights, key_due = jax.random.split(jax.random.fold_in(key, i))
            state, _ = agents.update_weights(agent, hyper, state, batch, key_weights)
            if due == "theta":
                state, _ = agents.update_theta(agent, hyper, state, batch, key_due, 10**6)
            if due == "pruning":
                state = agents.prune(agent, state, several, key_due, 10**6)
            return state

        return jax.lax.fori_loop(0, count, body, state)

    return jax.jit(loop, donate_argnums=0), agents.init(agent, hyper, key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick", help="quick or paper")
    parser.add_argument("--estimator", default="heun", choices=ESTIMATORS, help="of theta's gradient")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    gated = ("ofenet", "actor", "critic")
    # No step at all, so that nothing is pruned but where it is meant to be.
    config = make_config(
        preset=arguments.preset,
        gated=gated,
        estimator=arguments.estimator,
        theta_learning_rate=0.0,
        prune_stop=None,
    )
    xinet, state_xinet = make_loop(config)
    dense, state_dense = make_loop(make_config(preset=arguments.preset, agent="ofenet"))
    low = jax.tree.map(lambda theta: theta.at[..., : max(theta.shape[-1] // 32, 1)].set(0.0), state_xinet.theta)
    timed = {
        "dense": (dense, state_dense, UPDATES),
        "gates": (xinet, state_xinet, UPDATES),
        "gates and pass": (make_loop(config, "theta")[0], state_xinet, UPDATES),
        "gates and pruning": (make_loop(config, "pruning")[0], state_xinet._replace(theta=low), 1),
    }
    times = {name: [] for name in timed}
    for repeat in range(REPEATS + 1):
        for name, (loop, state, count) in timed.items():
            copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
            before = time.perf_counter()
            jax.block_until_ready(loop(copy, count))
            if repeat:  # the first compiles
                times[name].append((time.perf_counter() - before) / count)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    extra = seconds["gates and pass"] - seconds["gates"]
    pruning = (seconds["gates and pruning"] - seconds["gates"]) / PRUNE_EVERY
    result = {
        "milliseconds": {name: round(1e3 * value, 3) for name, value in seconds.items()},
        "gates_over_dense": round(seconds["gates"] / seconds["dense"], 3),
        "pruning_share_of_an_update": round(pruning / seconds["gates"], 3),
        "share_of_an_update": {every: round(extra / every / seconds["gates"], 3) for every in EVERY},
    }
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    for name, value in result["milliseconds"].items():
        print(f"{name:>16}: {value:.2f} ms an update")
    print(f"gates alone over dense: {result['gates_over_dense']:.2f}")
    print(f"pruning every {PRUNE_EVERY}: takes {result['pruning_share_of_an_update']:.1%} of an update's time on top")
    for every, share in result["share_of_an_update"].items():
        print(f"theta every {every}: its pass takes {share:.1%} of an update's time on top")


if __name__ == "__main__":
    main()
