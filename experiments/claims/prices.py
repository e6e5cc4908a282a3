"""Claim 3: how much is too much? Four prices over a factor of 30, all in one program.

And, of those prices that leave least, whether other ways to that size come to the same: small networks from scratch
with XiNet's final widths or the same fraction of every layer, and units pruned by magnitude or at random.

    python -m experiments.claims.prices            # hours; Ctrl-C, and again, goes on
    python -m experiments.claims.prices --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import results, tables
from experiments.claims.arms import PRICES_STEPS, RIVALS
from experiments.claims.claim import main
from experiments.claims.statistics import difference, interquartile_mean

ARMS = ("prices", *RIVALS)
TASKS = ("HalfCheetah-v5", "Hopper-v5")

Rows = list[dict[str, float]]


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns a line per task, arm and price: returns, those in the last fifth of training, and sizes.

    XiNet's last fifth is compared with the dense agents' over the same steps; others with XiNet at the price that
    leaves as much.
    """
    rows = []
    for task in tasks:
        xinet = by_price(folder / task, "prices")
        course = results.read(folder / task / "ofenet", "course")
        until = [row for row in course if row["environment_steps"] <= PRICES_STEPS]
        dense = results.late_returns(until) if until else None
        if xinet and dense is not None:
            late = str(interquartile_mean(dense))
            rows.append([task, "", "ofenet", "", "", "", late, "", *("" for _ in tables.size_headings())])
        for arm in arms:
            for nu, (final, course) in by_price(folder / task, arm).items():
                ours = tables.scores(final, course)
                gaps = ["", ""]
                if arm == "prices" and dense is not None:
                    gaps = ["", str(difference(ours[1], dense))]
                elif arm != "prices" and nu in xinet:
                    gaps = [str(difference(*pair)) for pair in zip(ours, tables.scores(*xinet[nu]), strict=True)]
                saved, late = map(str, map(interquartile_mean, ours))
                columns = [task, f"{nu:g}", name_of(arm), saved, tables.each_seed(final), gaps[0], late, gaps[1]]
                rows.append([*columns, *tables.sizes(final)])
    headings = ["task", "ν", "arm", "return", "each seed", "relative to xinet", "last fifth"]
    headings += ["last fifth relative to ofenet or xinet"]
    return tables.markdown([*headings, *tables.size_headings()], rows)


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


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
