"""Tables of tasks and of their options."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table


def tasks_table(tasks: Iterable[dict[str, Any]]) -> Table:
    """Returns one line per task, from `xinet_jax.tasks.registry.describe_task`."""
    table = Table()
    for heading in ("task", "observation", "predicted", "action", "episode", "engines"):
        table.add_column(heading, justify="right" if heading in ("observation", "predicted", "action") else "left")
    for task in tasks:
        engines = ", ".join(task["engines"])
        table.add_row(
            task["task"],
            str(task["observation"]),
            str(task["predicted"]),
            str(task["action"]),
            f"{task['episode_length']} × {task['seconds_per_step']:.3g} s",
            escape(f"{engines}: {task['missing']}" if task["missing"] else engines),
        )
    return table


def options_table(options: dict[str, Any]) -> Table:
    """Returns one line per option of a task, as `--task-options` takes it with its default."""
    table = Table("--task-options", title_justify="left")
    for name, value in options.items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
        table.add_row(f"{name}={shown}")
    return table
