"""Claim 3: how much is too much? Four prices over a factor of 30, all in one program.

And, of those prices that leave least, whether other ways to that size come to the same: small networks from scratch
with XiNet's final widths, and units pruned by magnitude or at random.

    python -m experiments.claims.prices            # hours; Ctrl-C, and again, goes on
    python -m experiments.claims.prices --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import results, tables
from experiments.claims.arms import RIVALS
from experiments.claims.claim import main
from experiments.claims.statistics import difference, interquartile_mean

ARMS = ("prices", *RIVALS)
TASKS = ("HalfCheetah-v5", "Hopper-v5")

Rows = list[dict[str, float]]


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns a line per task, arm and price: returns, those in the last fifth of training, and sizes.

    Others are compared with XiNet at the price that leaves as much.
    """
    rows = []
    for task in tasks:
        xinet = by_price(folder / task, "prices")
        for arm in arms:
            for nu, (final, course) in by_price(folder / task, arm).items():
                ours = _scores(final, course)
                theirs = _scores(*xinet[nu]) if arm != "prices" and nu in xinet else None
                gaps = [str(difference(*pair)) for pair in zip(ours, theirs, strict=True)] if theirs else ["", ""]
                saved, late = map(str, map(interquartile_mean, ours))
                name = name_of(arm)
                columns = [task, f"{nu:g}", name, saved, tables.each_seed(final), gaps[0], late, gaps[1]]
                rows.append([*columns, *tables.sizes(final)])
    less = "less xinet's"
    headings = ["task", "ν", "arm", "return", "each seed", less, "last fifth", less, *tables.size_headings()]
    return tables.markdown(headings, rows)


def name_of(arm: str) -> str:
    """Returns what an arm is called beside a price."""
    return "xinet" if arm == "prices" else arm.partition("-")[0]


def by_price(folder: Path, arm: str) -> dict[float, tuple[Rows, Rows]]:
    """Returns the lines of one arm's `final` and `course` by price: XiNet's own, or the one that leaves as much.

    Args:
      folder: results on one task.
      arm: of `ARMS`.
    """
    final, course = (results.read(folder / arm, name) for name in ("final", "course"))
    if arm in RIVALS:
        return {RIVALS[arm]: (final, course)} if final else {}
    courses = results.grouped(course, "nu")
    return {nu: (own, courses[nu]) for nu, own in results.grouped(final, "nu").items()}


def _scores(final: Rows, course: Rows) -> tuple:
    return results.column(final, "return"), results.late_returns(course)


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
