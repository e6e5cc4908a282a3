"""Curves for Weights & Biases: one run of theirs per member, in a group that is called as the run folder.

A run of theirs keeps its name (its id) when ours is resumed. What the service has is told apart by their step, which
only grows: scalars of a step that it has are not sent again. Without the service (`WANDB_MODE=offline`) there is
nothing to tell it by, so each start writes files of a new id from the beginning, in place of those of the start before.
"""

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import wandb

from xinet_jax.telemetry.scalars import KINDS, Scalars
from xinet_jax.telemetry.sinks import Curves

_SECONDS_TO_START, _SECONDS_TO_FINISH = 30.0, 45.0  # that the service has


class Wandb:
    """Sends each member's scalars to Weights & Biases.

    Args:
      curves: what to draw curves of.

    Raises:
      wandb.Error: if the service does not answer.
      RuntimeError: if there is no account to send to.
    """

    def __init__(self, curves: Curves):
        offline = wandb.setup(wandb.Settings(silent=True)).settings.mode in ("offline", "dryrun", "disabled")
        if not offline and not wandb.login(prompt=False, verify=False):
            raise RuntimeError("there is no API key: run `wandb login`, or set WANDB_MODE=offline")
        self._runs: dict[str, Any] = {}
        self._newest: dict[str, int] = {}  # the step that was sent last
        for member, settings in curves.members.items():
            self._runs[member] = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "xinet_jax"),
                group=curves.folder.resolve().name,
                name=member,
                id=_claim_id(curves.folder / "wandb", member, offline),
                dir=curves.folder,
                config=settings,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    disable_git=True,
                    save_code=False,
                    x_disable_stats=True,
                    init_timeout=_SECONDS_TO_START,
                    finish_timeout=max(_SECONDS_TO_FINISH / len(curves.members), 1.0),
                ),
            )
            self._runs[member].define_metric("*", step_metric="environment_steps")

    def write(self, member: str, scalars: Scalars) -> None:
        """Sends a member's scalars, unless the service has them."""
        run, step, newest = self._runs[member], KINDS * scalars.step + scalars.order, self._newest.get(member, 0)
        if step < newest:  # a compaction is recorded late: it joins what was sent last
            run.log(scalars.values, step=newest)
        elif step >= run.starting_step:
            run.log(scalars.values | {"environment_steps": scalars.step, "seconds": scalars.seconds}, step=step)
            self._newest[member] = step

    def close(self) -> None:
        """Waits until everything is sent, or the service has had its time."""
        for run in self._runs.values():
            run.finish()


def _claim_id(folder: Path, member: str, offline: bool) -> str:
    """Returns the id of a member's run at Weights & Biases, which is kept in the run folder.

    Args:
      folder: where their files are.
      member: the member's name.
      offline: whether the service is not used, so that the run needs an id that it does not know.
    """
    kept = folder / "ids" / member
    former = kept.read_text().strip() if kept.exists() else None
    for files in folder.glob(f"offline-run-*-{former}"):
        if not (files / f"run-{former}.wandb.synced").exists():
            shutil.rmtree(files)
    if former and not offline:
        return former
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(chosen := uuid.uuid4().hex[:12])
    return chosen
