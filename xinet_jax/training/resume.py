"""Finds the checkpoint that a run goes on from, and makes the run anew around it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax.config import Config
from xinet_jax.errors import UserError
from xinet_jax.networks import Shape
from xinet_jax.replay import refill
from xinet_jax.training.checkpoints import candidates, damaged, read_about, read_state
from xinet_jax.training.members import Identity
from xinet_jax.training.phases import PHASES
from xinet_jax.training.plan import Plan, prepare
from xinet_jax.training.program import Member
from xinet_jax.training.run_folder import CHECKPOINT_FOLDER, POLICY_FOLDER, own_checkpoints


class Start(NamedTuple):
    """Where a resumed run goes on: the plan for the sizes it has come to, its arrays on the host, and the rest."""

    plan: Plan
    state: Member
    about: dict[str, Any]


def find_start(
    config: Config, identities: Sequence[Identity], folder: Path, tell: Callable[[str], None]
) -> Start | None:
    """Returns the newest checkpoint that can be used; None to begin anew where the run has come to none yet."""
    kept = own_checkpoints(folder, jax.process_index(), jax.process_count())
    if not kept.exists() and (folder / CHECKPOINT_FOLDER).exists():
        found = sorted(path.name for path in (folder / CHECKPOINT_FOLDER).iterdir())
        raise UserError(
            f"{folder} was trained by another number of processes ({', '.join(found)}): resume it by as many"
        )
    complete = candidates(kept)
    for path in complete:
        try:
            start = _read_start(config, identities, path)
        except UserError as error:
            tell(f"{error}; going on from the one before it")
            continue
        done = start.about["environment_steps"]
        if done > config.steps or (done == config.steps and _is_complete(folder, identities)):
            raise UserError(f"{folder} is trained to {done} steps already: choose more than that by steps")
        return start
    if complete:
        raise UserError(f"none of the {len(complete)} checkpoints in {kept} can be used")
    tell(f"{folder} has no checkpoint yet: beginning anew")
    return None


def _is_complete(folder: Path, identities: Sequence[Identity]) -> bool:
    """Returns whether every policy is saved, which is what a run does last."""
    return all((folder / POLICY_FOLDER / identity.folder).exists() for identity in identities)


def _read_start(config: Config, identities: Sequence[Identity], path: Path) -> Start:
    about = read_about(path)
    try:
        widths = {name: tuple(value) if isinstance(value, list) else value for name, value in about["widths"].items()}
        shape, capacity, filled = Shape(**widths), int(about["capacity"]), int(about["filled"])
        valid = about["members"] == [identity.folder for identity in identities] and about["phase"] in PHASES
        numbers = [about[name] for name in ("position", "environment_steps", "metrics_bytes", "seconds")]
        valid &= all(isinstance(own, (int, float)) and own >= 0 for own in numbers) and 0 <= filled <= capacity
        valid &= isinstance(about["ledger"], dict)
    except (KeyError, TypeError, ValueError, AttributeError):
        valid = False
    if not valid:
        raise damaged(path, "its description does not fit the run")
    plan = prepare(config, identities, shape, bool(about["settled"]))
    dense = plan.agent.dense
    if not all(np.shape(a) == np.shape(b) and np.all(np.less_equal(a, b)) for a, b in zip(shape, dense, strict=True)):
        raise damaged(path, "its networks are larger than those of the run")
    expected = jax.eval_shape(plan.program.init, plan.hyper, plan.seeds)
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(identities), *leaf.shape[1:]), leaf.dtype), expected)
    now = expected.replay.experience.reward.shape[2]
    if filled > now:
        raise damaged(path, "its replay is larger than that of the run")
    cut = lambda leaf: jax.ShapeDtypeStruct((*leaf.shape[:2], filled, *leaf.shape[3:]), leaf.dtype)  # noqa: E731
    replay = expected.replay.replace(experience=jax.tree.map(cut, expected.replay.experience))
    state = read_state(path, about, expected._replace(replay=replay))
    return Start(plan, state._replace(replay=refill(state.replay, capacity, now)), about)
