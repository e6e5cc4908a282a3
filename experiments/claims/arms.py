"""What is compared: every arm of every claim, as options of `xinet train`."""

from typing import NamedTuple

STEPS = 100_000
SEEDS = {"HalfCheetah-v5": 5, "Hopper-v5": 5, "Walker2d-v5": 3, "Ant-v5": 3}
# In the second half, of agents that have begun to learn: those of Hopper have not before step 50,000.
SCHEDULE = "--prune-start 50000 --prune-ramp 12500 --prune-stop 75000"
# Pruned agents of all tasks come down to the same share, so that they can be compared.
XINET = f"--agent xinet --keep-share 0.4 {SCHEDULE}"
# Pruning on a schedule lasts as long as theta's does, and ends at the same share.
AS_LONG = "--prune-start 50000 --prune-ramp 25000 --final-share 0.4"
PRICES = (100, 200, 400, 800, 3000)
PRICES_SEEDS = 3
# Its own schedule is for a million steps.
PAPER = "--preset paper --checkpoint-every 5000"


class Arm(NamedTuple):
    """One way to train.

    Attributes:
      options: of `xinet train`; `{xinet}` stands for the results of arm xinet on the same task.
      seeds: how many; None: as many as `SEEDS` says of the task.
      steps: environment steps per seed.
    """

    options: str
    seeds: int | None = None
    steps: int = STEPS


# What is not said is the default.
ARMS = {
    "xinet": Arm(XINET),
    "ofenet": Arm("--agent ofenet"),
    "sac": Arm("--agent sac"),
    "small": Arm("--agent small --widths-from {xinet}"),
    "uniform": Arm("--agent small --widths-from {xinet} --uniform-widths"),
    "magnitude": Arm(f"--agent magnitude {AS_LONG}"),
    "random": Arm(f"--agent random {AS_LONG}"),
    "prices": Arm(f"--agent xinet --nu {' '.join(map(str, PRICES))} {SCHEDULE}", PRICES_SEEDS),
    "paper-xinet": Arm(f"{PAPER} {XINET}", 1),
    "paper-ofenet": Arm(f"{PAPER} --agent ofenet", 1),
}
