"""Where an interrupted run goes on: its newest checkpoint that can be used."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from xinet_jax.agent.replay import resized, rows_for
from xinet_jax.config import Config
from xinet_jax.errors import UserError
from xinet_jax.training.checkpoints import (
    DamagedCheckpoint,
    candidates,
    damaged,
    read_header,
    read_state,
    set_aside,
)
from xinet_jax.training.description import Description
from xinet_jax.training.member import Member
from xinet_jax.training.members import Identity
from xinet_jax.training.results import read_records
from xinet_jax.training.run_folder import CHECKPOINT_FOLDER, checkpoint_folder
from xinet_jax.training.setup import OtherNetworks, Setup, prepare
from xinet_jax.training.snapshot import snapshot_shapes


class Start(NamedTuple):
    """Where a run goes on.

    Attributes:
      setup: what it trains with, in the sizes that the networks have come to.
      state: the members, on the host.
      description: of the checkpoint.
      records: of a run that starts from another's checkpoint, the lines of metrics that it begins with.
    """

    setup: Setup
    state: Member
    description: Description
    records: bytes | None = None


def find_start(
    config: Config, identities: Sequence[Identity], folder: Path, note: Callable[[str], None]
) -> Start | None:
    """Returns the newest checkpoint that can be used; None where the run has come to none yet.

    Damaged checkpoints are noted, and set aside, so that newer ones can be written.

    Raises:
      UserError: if none of the checkpoints can be used, or the configuration does not fit them.
    """
    start, rejected = newest_start(config, identities, folder, note)
    for path in rejected:
        set_aside(path)
    return start


def newest_start(
    config: Config, identities: Sequence[Identity], folder: Path, note: Callable[[str], None]
) -> tuple[Start | None, list[Path]]:
    """Returns the newest checkpoint of a run folder that can be used, if it has any, and the damaged ones after it."""
    kept = checkpoint_folder(folder, jax.process_index(), jax.process_count())
    others = folder / CHECKPOINT_FOLDER
    foreign = [path.name for path in others.iterdir() if not _of_as_many(path.name)] if others.exists() else []
    if foreign:
        raise UserError(f"{folder} was trained by another number of processes ({foreign[0]}): start as many again")
    rejected = []
    for path in candidates(kept):
        try:
            return read_start(config, identities, path), rejected
        except DamagedCheckpoint as error:
            note(f"{error}; going on from the one before it")
            rejected.append(path)
    if rejected:
        raise UserError(f"none of the {len(rejected)} checkpoints in {kept} can be used")
    return None, []


def read_start(config: Config, identities: Sequence[Identity], path: Path) -> Start:
    """Returns where a run goes on from one checkpoint.

    Raises:
      DamagedCheckpoint: if it cannot be used.
      UserError: if the configuration does not fit it.
    """
    header = read_header(path)
    try:
        description = Description.from_json(header)
    except ValueError as error:
        raise damaged(path, error) from None
    steps = description.position.environment_steps(config.random_steps)
    if description.members != tuple(identity.folder for identity in identities):
        raise damaged(path, "its members are not those of the run")
    if description.environment_steps != steps:
        raise damaged(path, "its environment steps are not those of its position")
    if steps > config.steps:
        raise UserError(f"the run is trained to {steps} steps already: choose more by steps")
    try:
        setup = prepare(config, identities, description.widths, description.settled)
    except OtherNetworks:
        raise damaged(path, "its networks are not those of the run") from None
    buffer = setup.buffer
    if description.filled > buffer.capacity or description.observations > rows_for(description.capacity):
        raise damaged(path, "its replay is larger than that of the run")
    state = read_state(path, header, snapshot_shapes(setup, description.filled, description.observations))
    replay = resized(state.replay, description.capacity, buffer.capacity)
    return Start(setup, state._replace(replay=replay), description)


def is_complete(config: Config, identities: Sequence[Identity], folder: Path) -> bool:
    """Returns whether these members were trained and evaluated to the end, the last thing that a run does."""
    done = {
        record["member"]
        for record in read_records(folder)
        if record["kind"] == "gymnasium" and record["environment_steps"] >= config.steps
    }
    return all(identity.folder in done for identity in identities)


def _of_as_many(name: str) -> bool:
    """Returns whether a folder of checkpoints was written by as many processes as there are."""
    count = jax.process_count()
    return name == "all" if count == 1 else name.endswith(f"_of_{count}")
