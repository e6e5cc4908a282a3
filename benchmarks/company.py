"""How far does a member drift from what the same seed becomes alone, when others train beside it?

The training phase of `xinet train` (quick preset, HalfCheetah-v5, native physics), the same seed alone and as the
first of several members of one program. A batched product sums in another order than a single one; everything else
is the same. After some updates: the difference of all parameters, relative to their norm and to the distance that
they have moved, the share of it in the array that differs most, and the largest difference of the policy's actions on
1,000 observations from the member's own replay.

    python benchmarks/company.py [--members 8] [--updates 10 60 300 1000] [--json]
"""

import argparse
import json

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.config import make_config
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members as of_run
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.program import make_program

RANDOM_STEPS, OBSERVATIONS = 1000, 1000


def train(count: int, stops: list[int]):
    """Returns the agent and, at the start and after each number of updates, the first member's state on the host."""
    config = make_config(seeds=count, engine="native", random_steps=RANDOM_STEPS, prune_start=20_000, prune_stop=None)
    task = load_task(config.task, config.engine)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    buffer = Buffer(config.steps, config.sac.batch_size)
    program = make_program(agent, task, buffer, 1, make_mesh(1, count))
    identities = of_run.identities(config)
    hyper = of_run.hyper_of_members(config, task.action_size, identities)
    state = program.init(hyper, of_run.seeds_of_members(identities))
    state, _ = program.collect(state, RANDOM_STEPS)
    kept, done = [of_run.select(state, 0)], 0
    for stop in stops:
        state, _ = program.train(hyper, state, RANDOM_STEPS + done, stop - done, done)
        kept.append(of_run.select(state, 0))
        done = stop
    return agent, kept


def norm(tree) -> float:
    return float(np.sqrt(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(tree))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=8, help="members in the larger program")
    parser.add_argument("--updates", type=int, nargs="+", default=[10, 60, 300, 1000], help="when to compare")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    stops = sorted(set(arguments.updates))
    (agent, alone), (_, company) = (train(count, stops) for count in (1, arguments.members))
    act = jax.jit(lambda state, observation: agents.act(agent, state, observation, None))
    rows = []
    for stop, one, other in zip(stops, alone[1:], company[1:], strict=True):
        difference = jax.tree.map(np.subtract, one.agent.params, other.agent.params)
        moved = jax.tree.map(np.subtract, one.agent.params, alone[0].agent.params)
        paths = jax.tree.leaves_with_path(difference)
        worst, leaf = max(paths, key=lambda pair: norm(pair[1]))
        observations = one.replay.observation[:OBSERVATIONS]
        actions = [np.asarray(act(member.agent, observations)) for member in (one, other)]
        rows.append(
            {
                "updates": stop,
                "difference": norm(difference) / norm(one.agent.params),
                "of_movement": norm(difference) / norm(moved),
                "most_in": jax.tree_util.keystr(worst, simple=True, separator="/"),
                "share_of_most": (norm(leaf) / max(norm(difference), 1e-300)) ** 2,
                "actions": float(np.abs(actions[0] - actions[1]).max()),
            }
        )
    if arguments.json:
        print(json.dumps({"members": arguments.members, "rows": rows}, allow_nan=False))
        return
    print("| updates | difference of parameters | of their movement | most of it in | largest difference of actions |")
    print("|---|---|---|---|---|")
    for row in rows:
        most = f"{row['most_in']} ({row['share_of_most']:.0%})"
        figures = f"{row['difference']:.1e} | {row['of_movement']:.1e} | {most} | {row['actions']:.1e}"
        print(f"| {row['updates']:,} | {figures} |")


if __name__ == "__main__":
    main()
