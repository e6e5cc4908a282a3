"""What destroys the policy in the first updates after a cut, and what prevents it?

The agents of `experiments.what_predicts_recovery` are cut by magnitude, and learn on with one care or another:

- nothing: as training does;
- moments: Adam forgets its moments at the cut;
- critics first: the actor stays as it is for the first 1,000 updates, while critics and OFENet learn;
- both: the last two together;
- critics for 100, critics for 10: the actor stays as it is for so many updates;
- uncut: the dense agents, as a control.

    python -m experiments.what_predicts_recovery.after_the_cut [--cares moments both] [--cores 0]
    python -m experiments.what_predicts_recovery.after_the_cut --table

Results: `after_the_cut.csv`, a line per care, seed and number of updates. Cares that it has are left out.
"""

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.what_predicts_recovery.cut import HERE, NOTHING, TRUNK_STEPS, Cut, append, cut_agents, use_cores
from experiments.what_predicts_recovery.tables import means
from xinet_jax.agent.optimiser import adam
from xinet_jax.training.member import Member

UPDATES = (100, 300, 1_000, 1_100, 1_300, 2_000, 5_000, 10_000)  # after the cut, at which agents are evaluated
# By name: whether moments are forgotten, and for how many updates the actor stays as it is.
CARES = {"nothing": (False, 0), "moments": (True, 0), "critics first": (False, 1_000), "both": (True, 1_000)}
CARES |= {"critics for 100": (False, 100), "critics for 10": (False, 10)}
UNCUT = "uncut"
SHOWN = (0, 100, 1_000, 2_000, 10_000)  # updates in the table; the file has all
FILE = "after_the_cut.csv"

Returns = dict[str, dict[int, list[float]]]  # by care and updates, of each seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="HalfCheetah-v5", help="the task")
    parser.add_argument("--share", type=float, default=0.11, help="share of all parameters that the cut leaves")
    parser.add_argument(
        "--cares", nargs="*", choices=[*CARES, UNCUT], default=[*CARES, UNCUT], help="cares to train with"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/recovery"), help="folder of the trunks")
    parser.add_argument("--cores", help="cores to run on, as 0 or 0,1; all if none")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the CSV file")
    parser.add_argument("--updates", type=int, nargs="*", default=UPDATES, help="when to evaluate after the cut")
    parser.add_argument("--table", action="store_true", help="print the table and train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        use_cores(arguments.cores)
        for care in arguments.cares:
            if care not in read(arguments.out).get((arguments.task, str(arguments.share)), {}):
                recover(arguments, care)
    for (task, share), returns in read(arguments.out).items():
        print(f"{task}, {float(share):.0%} of the parameters left\n\n{table(returns)}\n\n{differences(returns)}\n")


def recover(arguments: argparse.Namespace, care: str) -> None:
    """Cuts the trunk's agents, lets them learn on with a care, and writes down their returns."""
    cut = cut_agents(arguments, NOTHING if care == UNCUT else "magnitude")
    forget, held = CARES.get(care, (False, 0))
    state = without_moments(cut.state) if forget else cut.state
    seconds, done, rows = time.monotonic(), 0, []
    for updates in (0, *arguments.updates):
        state = learn_critics(cut, state, done, min(updates, held))
        done = max(done, min(updates, held))
        if updates > done:
            state, _ = cut.setup.program.train(cut.setup.hyper, state, TRUNK_STEPS + done, updates - done, done)
        done = updates
        scores = np.asarray(cut.setup.program.evaluate(state.agent, cut.setup.seeds)).mean(axis=1)
        stamp = {"task": arguments.task, "share": arguments.share, "care": care, "updates": updates}
        for identity, score in zip(cut.setup.identities, scores, strict=False):
            rows.append(stamp | {"seed": identity.seed, "return": round(float(score), 1)})
        print(f"{care}: {done} updates, {time.monotonic() - seconds:.0f} s, return {scores.mean():.0f}", flush=True)
    append(arguments.out / FILE, rows)


def without_moments(state: Member) -> Member:
    """Returns the members as Adam would begin with them."""
    fresh = {name: jax.vmap(adam.init)(params) for name, params in state.agent.params.items()}
    return state._replace(agent=state.agent._replace(optimiser=fresh))


def learn_critics(cut: Cut, state: Member, first: int, last: int) -> Member:
    """Returns the members after updates from one number to another, in which the actor stays as it is."""
    for number in range(first, last):
        kept = jax.tree.map(jnp.copy, (state.agent.params["actor"], state.agent.optimiser["actor"]))
        state, _ = cut.setup.program.train(cut.setup.hyper, state, TRUNK_STEPS + number, 1, number)
        params, optimiser = state.agent.params | {"actor": kept[0]}, state.agent.optimiser | {"actor": kept[1]}
        state = state._replace(agent=state.agent._replace(params=params, optimiser=optimiser))
    return state


def read(folder: Path) -> dict[tuple[str, str], Returns]:
    """Returns the results by task and share."""
    results: dict[tuple[str, str], Returns] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    if (folder / FILE).exists():
        with (folder / FILE).open(newline="") as lines:
            for row in csv.DictReader(lines):
                results[row["task"], row["share"]][row["care"]][int(row["updates"])].append(float(row["return"]))
    return results


def table(returns: Returns) -> str:
    """Returns a line per care: mean returns over seeds and half the width of their 95% intervals, in Markdown."""
    shown = [updates for updates in SHOWN if any(updates in of_care for of_care in returns.values())]
    return means("care", "{} updates", returns, shown)


def differences(returns: Returns) -> str:
    """Returns a line per care: returns less those of `nothing`, seed by seed, in Markdown."""
    theirs = returns.get("nothing", {})
    gaps = {
        care: {updates: np.subtract(of_care[updates], theirs[updates]) for updates in of_care if updates in theirs}
        for care, of_care in returns.items()
        if care in CARES and care != "nothing"
    }
    return means("less nothing", "{} updates", gaps, (1_000, 2_000, 5_000, 10_000))


if __name__ == "__main__":
    main()
