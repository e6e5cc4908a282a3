"""What arms that prune have in common: until the first unit can fall they do the same, so it is trained once a task.

A trunk is a run that ends before pruning starts. A branch is a run folder that looks as if it had been trained to there
and interrupted: `xinet train --resume` goes on with it, by the branch's own configuration. It comes to the same as
a run from scratch but for rounding, in which programs of different agents differ.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xinet_jax.config import Config, PruningConfig, load_config, override, save_config, to_flat
from xinet_jax.errors import UserError
from xinet_jax.training import resume
from xinet_jax.training.checkpoints import Checkpoints, candidates
from xinet_jax.training.members import Identity, identities
from xinet_jax.training.run_folder import CONFIG_FILE, METRICS_FILE, own_checkpoints

# What may differ, beside all about pruning: nothing that was learnt until then depends on it.
_RUN = ("agent", "steps", "seeds", "first_seed", "final_episodes", "checkpoint_every", "checkpoint_keep", "devices")
_LATER = {*_RUN, "out", "overwrite", "resume", *(field.name for field in dataclasses.fields(PruningConfig))}


def is_trained(trunk: Path, steps: int) -> bool:
    """Returns whether a trunk has the checkpoint that branches begin at."""
    return any(path.name == str(steps) for path in candidates(own_checkpoints(trunk, 0, 1)))


def branch(trunk: Path, run: Path, config: Config) -> None:
    """Makes a run folder that goes on from a trunk's end.

    Args:
      trunk: its run folder.
      run: the run folder to make; what is there is replaced.
      config: the branch's configuration. Every member goes on from the trunk's member of its seed.

    Raises:
      UserError: if the two differ in what was learnt already, or the trunk has no checkpoint.
    """
    own = load_config(trunk / CONFIG_FILE)
    if config.engine == "auto":
        config = override(config, {"engine": own.engine})
    before, now = to_flat(own), to_flat(config)
    other = sorted(name for name in before if before[name] != now[name] and name not in _LATER)
    if own.gated != config.gated:
        other.append("gated")
    if other:
        raise UserError(f"{run} cannot go on from {trunk}: they differ in {', '.join(other)}")
    start = resume.find_start(own, identities(own), trunk, print)
    if start is None:
        raise UserError(f"{trunk} has no checkpoint to go on from")
    seeds = [identity.seed for identity in identities(own)]
    members = identities(config)
    strange = [member.seed for member in members if member.seed not in seeds]
    if strange:
        raise UserError(f"{trunk} has no seed {max(strange)}")
    if start.about["environment_steps"] >= config.pruning.prune_start:
        raise UserError(f"{trunk} has come to step {start.about['environment_steps']}, where {run} prunes already")
    origin = np.array([seeds.index(member.seed) for member in members])
    state = resume.snapshot(jax.tree.map(lambda leaf: np.asarray(leaf)[origin], start.state), len(members))

    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    with (trunk / METRICS_FILE).open("rb") as file:
        records = [json.loads(line) for line in file.read(start.about["metrics_bytes"]).splitlines()]
    lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in _of_members(records, members))
    (run / METRICS_FILE).write_text(lines)
    about = {"members": [member.folder for member in members], "metrics_bytes": len(lines.encode())}
    checkpoints = Checkpoints(own_checkpoints(run, 0, 1), config.checkpoint_keep, print)
    checkpoints.save(start.about["environment_steps"], state, start.about | about, start.about["newest_return"])
    checkpoints.close()
    save_config(config, run / CONFIG_FILE)  # last: what has none was not begun


def _of_members(records: list[dict[str, Any]], members: list[Identity]) -> Iterator[dict[str, Any]]:
    """Returns what the metrics of the branch's members would be."""
    for record in records:
        if "member" not in record:
            yield record
        for member in members:
            if record.get("seed") == member.seed:
                own = {"member": member.folder} | ({} if member.nu is None else {"nu": member.nu})
                yield {name: value for name, value in record.items() if name != "nu"} | own | member.settings
