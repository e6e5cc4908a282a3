"""Small run folders, written by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from xinet_jax.config import make_config, save_config

DENSE = {"ofenet/state_1": 4, "ofenet/action_1": 4, "ofenet/predictor": 3, "actor/hidden_1": 8, "actor/head": 2}
DENSE |= {"critic_1/hidden_1": 8, "critic_1/head": 1, "critic_2/hidden_1": 8, "critic_2/head": 1}
UNITS = {20: 1.0, 40: 0.5, 60: 0.25}  # share of units left, by step


def write_run(
    folder: Path, agent: str = "xinet", seeds: int = 2, nu: Sequence[float] = (100.0,), finished: bool = True, **others
) -> Path:
    """Writes a run of 60 steps with lines at 20, 40 and 60. The return of seed s at a step is the step plus 10 s."""
    folder.mkdir(parents=True)
    settings = {"steps": 60, "random_steps": 20, "eval_every": 20, "seeds": seeds, "envs": 2, "update_ratio": 2}
    if agent == "xinet":
        settings |= {"prune_start": 20, "prune_ramp": 10, "prune_stop": 50, "nu": tuple(nu)}
    save_config(make_config("Hopper-v5", agent=agent, **settings | others), folder / "config.yaml")
    names = {f"nu_{price:g}_" * (len(nu) > 1) + f"seed_{seed}": (price, seed) for price in nu for seed in range(seeds)}
    lines = []
    for step, share in UNITS.items():
        share = share if agent == "xinet" else 1.0
        for name, (price, seed) in names.items():
            stamp = {"member": name, "seed": seed, "nu": price, "environment_steps": step, "seconds": step / 10}
            units = {layer: math.ceil(share * n) if layer[-1].isdigit() else n for layer, n in DENSE.items()}
            size = {"units": units, "parameters_left": share, "flops": int(1000 * share)}
            learning = {"critic_loss": 1.0, "actor_loss": None, "iterations_per_second": 10.0 * step}
            learning |= {"temperature": 0.5, "entropy": 1.0, "action_value": 2.0}
            ended = {"episodes": 1, "episode_return": 1.0 * step, "bad_transitions": 0, "diverged": False}
            lines.append({"kind": "collect" if step == 20 else "train"} | stamp | size | ended | learning)
            if step > 20:
                lines.append({"kind": "evaluation"} | stamp | {"return": step + 10.0 * seed, "returns": [1.0]})
    lines.append({"kind": "checkpoint", "environment_steps": 60, "bytes": 9})
    rates = {"iterations_per_second_before": 100.0, "iterations_per_second": 200.0}
    compaction = {"kind": "compaction", "environment_steps": 40, "seconds": 4.0, "flops_of_arrays_left": 0.5}
    lines.append(compaction | {"compaction_seconds": 3.0} | rates)
    for name, (price, seed) in names.items() if finished else ():
        stamp = {"member": name, "seed": seed, "nu": price, "environment_steps": 60, "seconds": 7.0}
        lines.append({"kind": "gymnasium"} | stamp | {"return": 50.0, "returns": [40.0 + 10 * seed, 60.0 + 10 * seed]})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
    return folder
