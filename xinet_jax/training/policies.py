"""The policies that a run leaves behind."""

import shutil
from pathlib import Path

import jax
import numpy as np

from xinet_jax.policy import files, policy
from xinet_jax.policy.evaluation import evaluate
from xinet_jax.training import members
from xinet_jax.training.member import Member
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.run_folder import POLICY_FOLDER
from xinet_jax.training.setup import Setup


def remove_policies(setup: Setup, folder: Path) -> None:
    """Removes the policies that an earlier start of the run has saved: they are saved again at the end."""
    for path in _folders(setup, folder):
        shutil.rmtree(path, ignore_errors=True)


def save_policies(setup: Setup, state: Member, steps: int, folder: Path) -> None:
    """Saves every member's policy.

    Args:
      setup: what the run trains with.
      state: the members.
      steps: environment steps of each.
      folder: the run folder.

    Raises:
      UserError: if a policy cannot be written.
    """
    agents = jax.tree.map(np.asarray, state.agent)
    for row, path in enumerate(_folders(setup, folder)):
        identity = setup.identities[row]
        compact = policy.from_agent(
            setup.agent,
            members.select(agents, row),
            task=setup.task,
            name=setup.config.agent,
            seed=identity.seed,
            nu=identity.nu,
            settings=identity.settings,
            environment_steps=steps,
        )
        files.save_policy(compact, path)


def evaluate_policies(setup: Setup, steps: int, folder: Path, recorder: Recorder) -> None:
    """Runs the saved policies, in Gymnasium where it has the task, and records their returns."""
    for row, path in enumerate(_folders(setup, folder)):
        recorder.policy(steps, row, evaluate(files.load_policy(path), setup.config.final_episodes))


def _folders(setup: Setup, folder: Path) -> list[Path]:
    return [folder / POLICY_FOLDER / identity.folder for identity in setup.identities]
