"""What is compared: every arm of every claim, as options of `xinet train`."""

from functools import partial
from typing import NamedTuple

STEPS = 100_000
SEEDS = {"HalfCheetah-v5": 5, "Hopper-v5": 5, "Walker2d-v5": 3, "Ant-v5": 3}
# Early enough that what is left has half of the time to itself; later did not help (docs/notebook/schedule.md).
SCHEDULE = "--prune-start 26000 --prune-ramp 12000 --prune-stop 50000"
# Pruned agents of all tasks come down to the same share, so that they can be compared.
XINET = f"--agent xinet --keep-share 0.4 {SCHEDULE}"
# Pruning on a schedule begins and ends when theta's does.
AS_LONG = "--prune-start 26000 --prune-ramp 24000"
# What a price of 1000 leaves of all parameters.
SHARES = {"HalfCheetah-v5": 0.11, "Hopper-v5": 0.07}
PRICES = (100, 300, 1000, 3000)  # about three times as much each, around the default, 400
PRICES_SEEDS = 3
PRICES_STEPS = 80_000  # twelve members take hours; what is left still has 30,000 steps to itself
# Its own schedule is for a million steps.
PAPER = "--preset paper --checkpoint-every 5000"
# The same, evaluated twice as often with half of the episodes.
LARGE = f"{PAPER} --eval-every 5000 --eval-episodes 5"
LARGE_SHARES = (0.4, 0.15)  # of all parameters, that agents of published size are pruned to


class Arm(NamedTuple):
    """One way to train.

    Attributes:
      options: of `xinet train`; `{ARM}` stands for the results of another arm on the same task, `{share}` for the
        task's share of `SHARES`, `{price}` for `price`.
      seeds: how many; None: as many as `SEEDS` says of the task.
      steps: environment steps per seed.
      trunk: the one of `TRUNKS` that it goes on from, as arms can that do the same as that until they prune.
      price: of `PRICES`, the one at which XiNet is left as much as this arm.
    """

    options: str
    seeds: int | None = None
    steps: int = STEPS
    trunk: str | None = None
    price: int | None = None


# Nothing is pruned, but everything has the gates that pruning needs.
DENSE = "--agent magnitude --final-share 1 --prune-start 24000 --prune-ramp 0"
TRUNKS = {"trunk": Arm(DENSE, steps=25_000), "large-trunk": Arm(f"{LARGE} {DENSE}", seeds=5, steps=25_000)}
TRUNK = TRUNKS["trunk"]
_large = lambda options: Arm(f"{LARGE} {options}", seeds=5, trunk="large-trunk")  # noqa: E731
_by_price = partial(Arm, seeds=PRICES_SEEDS, steps=PRICES_STEPS)
# What is not said is the default.
ARMS = {
    "xinet": Arm(XINET, trunk="trunk"),
    "ofenet": Arm("--agent ofenet"),
    "sac": Arm("--agent sac"),
    "small": Arm("--agent small --widths-from {xinet}"),
    "uniform": Arm("--agent small --widths-from {xinet} --uniform-widths"),
    "magnitude": Arm(f"--agent magnitude {AS_LONG} --final-share 0.4", trunk="trunk"),
    "random": Arm(f"--agent random {AS_LONG} --final-share 0.4", trunk="trunk"),
    "prices": _by_price(f"--agent xinet --nu {' '.join(map(str, PRICES))} {SCHEDULE}", trunk="trunk"),
    # Other ways to what the higher prices leave: little enough for a difference to show.
    "small-1000": _by_price("--agent small --widths-from {prices} --nu {price}", price=1000),
    "uniform-1000": _by_price("--agent small --widths-from {prices} --nu {price} --uniform-widths", price=1000),
    "magnitude-1000": _by_price(f"--agent magnitude {AS_LONG} --final-share {{share}}", trunk="trunk", price=1000),
    "random-1000": _by_price(f"--agent random {AS_LONG} --final-share {{share}}", trunk="trunk", price=1000),
    "small-3000": _by_price("--agent small --widths-from {prices} --nu {price}", price=3000),
    "paper-xinet": Arm(f"{PAPER} {XINET}", seeds=1),
    "paper-ofenet": Arm(f"{PAPER} --agent ofenet", seeds=1),
    "paper-small": Arm(f"{PAPER} --agent small --widths-from {{paper-xinet}}", seeds=1),
    "large-dense": _large(f"--agent magnitude {AS_LONG} --final-share 1"),  # as pruned agents are, but for pruning
}
for _rule in ("magnitude", "random"):
    for _share in LARGE_SHARES:
        ARMS[f"large-{_rule}-{_share:.0%}".rstrip("%")] = _large(f"--agent {_rule} {AS_LONG} --final-share {_share}")
RIVALS = {name: arm.price for name, arm in ARMS.items() if arm.price}
