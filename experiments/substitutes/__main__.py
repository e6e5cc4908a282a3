"""What pruning does to the networks' outputs at once, by what takes the place of pruned units.

From the newest checkpoint of a run of agent xinet, before any unit was pruned, a share of every layer's units is
pruned at random, and the predictor's, the actor's and the critics' outputs are compared with those of before, on other
transitions than those that substitutes are learnt from: mean squared change, as a share of the output's variance.
Units leave nothing behind, their mean, or what the others can say of them (docs/method.md, section 4).

    python -m experiments.substitutes RUN [--out experiments/substitutes]

Writes `TASK.csv`: a line per share and way, a column per output, medians over the run's members.
"""

import argparse
import csv
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from xinet_jax.agent.replay import MORE, Replay
from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.config import load_config
from xinet_jax.pruning import substitutes as replacement
from xinet_jax.training import members
from xinet_jax.training.resume import find_start
from xinet_jax.types import Key, Transition, Units

SHARES = (0.05, 0.1, 0.3, 0.6)
WAYS = ("nothing", "mean", "regression")
TEST = 4096  # transitions on which outputs are compared


def outputs(agent: Agent, state: AgentState, units: Units, batch: Transition) -> dict[str, jax.Array]:
    """Returns the networks' outputs at given gates, `[batch, ...]` each, the critics' `[2, batch]`."""
    networks, params = agent.networks, state.params
    variables = {"params": params["ofenet"], "batch_stats": state.statistics}
    z_o = networks.ofenet.apply(variables, batch.observation, units["ofenet"], method="state_features")
    z_oa = networks.ofenet.apply(variables, z_o, batch.action, units["ofenet"], method="action_features")
    return {
        "ofenet": networks.ofenet.apply(variables, batch.observation, batch.action, units["ofenet"]),
        "actor": networks.actor.apply({"params": params["actor"]}, z_o, units["actor"]),
        "critic": networks.critic.apply({"params": params["critic"]}, z_oa, units["critic"])[..., None],
    }


def pruned(agent: Agent, state: AgentState, left: Units, way: str, batch: Transition) -> AgentState:
    """Returns the agent without the units that are not in `left`, replaced in one of `WAYS`."""
    if way == "nothing":
        return state
    lost = jax.tree.map(jnp.subtract, state.alive, left)
    ridge = 1e9 if way == "mean" else replacement.RIDGE
    arrays = (state.params, state.statistics, state.alive)
    params, statistics = replacement.without(agent.networks, *arrays, left, lost, batch, ridge)
    return state._replace(params=params, statistics=statistics)


def changes(
    agent: Agent, state: AgentState, share: jax.Array | float, way: str, learn: Transition, test: Transition, key: Key
):
    """Returns each output's mean squared change as a share of its variance."""
    leaves, structure = jax.tree.flatten(state.alive)
    keys = jax.random.split(key, len(leaves))
    kept = [
        (jax.random.permutation(k, leaf.shape[-1]) >= jnp.round(share * leaf.shape[-1])) * 1.0
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    left = jax.tree.unflatten(
        structure, [jnp.broadcast_to(mask, leaf.shape) for mask, leaf in zip(kept, leaves, strict=True)]
    )
    before = outputs(agent, state, state.alive, test)
    after = outputs(agent, pruned(agent, state, left, way, learn), left, test)

    def change(a: jax.Array, b: jax.Array) -> jax.Array:
        return (jnp.square(b - a).mean(axis=-2) / a.var(axis=-2)).mean()

    return jax.tree.map(change, before, after)


def measure(folder: Path) -> list[dict]:
    """Returns a row per share and way, from a run's newest checkpoint."""
    config = load_config(folder / "config.yaml")
    identities = members.identities(config)
    start = find_start(config, identities, folder, print)
    agent, size = start.setup.agent, config.sac.batch_size
    filled = start.description.filled
    dense = all((mask == 1).all() for mask in jax.tree.leaves(start.state.agent.alive))
    if agent.pruning.weights_see != "open" or not dense:
        raise SystemExit(f"{folder} has no checkpoint of open gates (--weights-see open) from before pruning")
    state, replay = jax.tree.map(jnp.asarray, (start.state.agent, start.state.replay))

    def one(share: jax.Array, way: str, state: AgentState, replay: Replay, key: Key) -> dict[str, jax.Array]:
        key_learn, key_test, key_units = jax.random.split(key, 3)

        def draw(k: Key, count: int) -> Transition:
            index = jax.random.randint(k, (count,), 0, filled)
            return start.setup.buffer.transitions(replay, index)

        learn, test = draw(key_learn, MORE * size), draw(key_test, TEST)
        return changes(agent, state, share, way, learn, test, key_units)

    keys = jax.random.split(jax.random.PRNGKey(0), len(identities))
    rows = []
    for way in WAYS:
        every = jax.jit(lambda share, way=way: jax.vmap(partial(one, share, way))(state, replay, keys))
        for share in SHARES:
            found = jax.tree.map(lambda own: float(jnp.median(own)), every(share))
            rows.append({"share": share, "left_behind": way} | found)
    return sorted(rows, key=lambda row: row["share"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of agent xinet, with a checkpoint from before pruning")
    parser.add_argument("--out", type=Path, default=Path("experiments/substitutes"), help="folder of the CSV file")
    arguments = parser.parse_args()
    rows = measure(arguments.run)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{load_config(arguments.run / 'config.yaml').task}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows])
    print(path.read_text())


if __name__ == "__main__":
    main()
