"""Draws the picture of a run in the README, from the committed results of claim 1 on HalfCheetah-v5.

python -m experiments.readme_picture    # writes docs/assets/run.png
"""

from pathlib import Path

from experiments.claims import results
from experiments.claims.figures import panels
from xinet_jax.config import load_config

RUN = results.FOLDER / "HalfCheetah-v5" / "xinet"
PICTURE = Path("docs/assets/run.png")


def main() -> None:
    course = results.read(RUN, "course")
    pruning = load_config(RUN / "config.yaml").pruning
    dense = max(row["parameters"] for row in course)
    figure, axes = panels(1, 2, height=2.8)
    for number, rows in results.grouped(course, "seed").items():
        steps = results.column(rows, "environment_steps") / 1e3
        label = f"seed {number:.0f}"
        axes[0, 0].plot(steps, results.column(rows, "return"), linewidth=1.2, label=label)
        axes[0, 1].plot(steps, 100 * results.column(rows, "parameters") / dense, linewidth=1.2, label=label)
    for axis, title in zip(axes[0], ("return in training", "parameters left [%]"), strict=True):
        axis.axvspan(pruning.prune_start / 1e3, pruning.prune_stop / 1e3, color="0.92", zorder=0)
        axis.set_title(title)
        axis.set_xlabel("environment steps [thousands]; grey: pruning")
        axis.margins(x=0)
    axes[0, 1].set_ylim(0, 105)
    axes[0, 0].legend(fontsize=7)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    print(PICTURE)


if __name__ == "__main__":
    main()
