"""What a checkpoint holds of the members, and how a run is made anew around it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax.agent.replay import refill, replay_filled
from xinet_jax.config import Config
from xinet_jax.errors import UserError
from xinet_jax.networks.modules import Shape
from xinet_jax.training.checkpoints import DamagedCheckpoint, candidates, damaged, read_about, read_state, set_aside
from xinet_jax.training.members import Identity
from xinet_jax.training.phases import PHASES
from xinet_jax.training.plan import OtherNetworks, Plan, prepare
from xinet_jax.training.program import Member
from xinet_jax.training.results import read_records
from xinet_jax.training.run_folder import CHECKPOINT_FOLDER, own_checkpoints
from xinet_jax.training.savings import Ledger


class Start(NamedTuple):
    """Where a resumed run goes on: the plan for the sizes it has come to, its arrays on the host, and the rest."""

    plan: Plan
    state: Member
    about: dict[str, Any]


def snapshot(state: Member, count: int) -> Member:
    """Returns the first `count` members on the host, with only that part of their replays which any of them has filled.

    All is copied: arrays on the device are donated to the next chunk.
    """
    filled = int(np.max(np.asarray(replay_filled(state.replay))[:count]))
    copy = lambda leaf: np.array(np.asarray(leaf)[:count])  # noqa: E731
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:count, :, :filled].copy(), state.replay.experience)
    replay = jax.tree.map(copy, state.replay.replace(experience=())).replace(experience=rows)
    return jax.tree.map(copy, state._replace(replay=()))._replace(replay=replay)


def find_start(
    config: Config, identities: Sequence[Identity], folder: Path, tell: Callable[[str], None]
) -> Start | None:
    """Returns the newest checkpoint that can be used; None to begin anew where the run has come to none yet."""
    kept = own_checkpoints(folder, jax.process_index(), jax.process_count())
    others = folder / CHECKPOINT_FOLDER
    strange = [path.name for path in others.iterdir() if not _of_as_many(path.name)] if others.exists() else []
    if strange:
        raise UserError(f"{folder} was trained by another number of processes ({strange[0]}): start as many again")
    complete = candidates(kept)
    for path in complete:
        try:
            start = _read_start(config, identities, path)
        except DamagedCheckpoint as error:
            tell(f"{error}; going on from the one before it")
            continue
        for newer in complete[: complete.index(path)]:
            set_aside(newer)
        return start
    if complete:
        raise UserError(f"none of the {len(complete)} checkpoints in {kept} can be used")
    tell(f"{folder} has no checkpoint yet: beginning anew")
    return None


def is_complete(config: Config, identities: Sequence[Identity], folder: Path) -> bool:
    """Returns whether these members were trained and evaluated to the end, the last thing that a run does."""
    done = {
        record["member"]
        for record in read_records(folder)
        if record["kind"] == "gymnasium" and record["environment_steps"] >= config.steps
    }
    return all(identity.folder in done for identity in identities)


def _of_as_many(name: str) -> bool:
    count = jax.process_count()
    return name == "all" if count == 1 else name.endswith(f"_of_{count}")


def _read_start(config: Config, identities: Sequence[Identity], path: Path) -> Start:
    about = read_about(path)
    try:
        widths = {name: tuple(value) if isinstance(value, list) else value for name, value in about["widths"].items()}
        shape, capacity, filled = Shape(**widths), about["capacity"], about["filled"]
        sizes = [size for field in shape for size in (field if isinstance(field, tuple) else (field,))]
        counts = [about[name] for name in ("position", "environment_steps", "metrics_bytes")]
        valid = all(type(own) is int and own >= 0 for own in (*sizes, *counts, capacity, filled))
        valid &= about["members"] == [identity.folder for identity in identities] and about["phase"] in PHASES
        valid &= math.isfinite(about["seconds"]) and filled <= capacity
        Ledger().take(about["ledger"])
        valid &= isinstance(about["settled"], bool)
        valid &= about["newest_return"] is None or isinstance(about["newest_return"], float)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        valid = False
    if not valid:
        raise damaged(path, "its description does not fit the run")
    if about["environment_steps"] > config.steps:
        raise UserError(f"the run is trained to {about['environment_steps']} steps already: choose more by steps")
    try:
        plan = prepare(config, identities, shape, about["settled"])
    except OtherNetworks:
        raise damaged(path, "its networks are not those of the run") from None
    expected = jax.eval_shape(plan.program.init, plan.hyper, plan.seeds)
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(identities), *leaf.shape[1:]), leaf.dtype), expected)
    now = expected.replay.experience.reward.shape[2]
    if filled > now:
        raise damaged(path, "its replay is larger than that of the run")
    cut = lambda leaf: jax.ShapeDtypeStruct((*leaf.shape[:2], filled, *leaf.shape[3:]), leaf.dtype)  # noqa: E731
    replay = expected.replay.replace(experience=jax.tree.map(cut, expected.replay.experience))
    state = read_state(path, about, expected._replace(replay=replay))
    return Start(plan, state._replace(replay=refill(state.replay, capacity, now)), about)
