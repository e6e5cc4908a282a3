"""`xinet tasks`: lists the tasks."""

import json

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import TasksArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import start_jax
from xinet_jax.tasks.catalogue import BUILT_IN
from xinet_jax.tasks.registry import check_name, describe_task, task_names
from xinet_jax.telemetry.json_lines import finite


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(TasksArguments, arguments, "xinet tasks")
    from xinet_jax.tasks.options import as_json
    from xinet_jax.tasks.tables import options_table, tasks_table

    names = [options.name] if options.name else task_names()
    for name in names:
        check_name(name)
    if not {*names} <= {*BUILT_IN}:  # a user's task has to be loaded for its sizes
        start_jax()
    descriptions = [describe_task(name) for name in names]
    if options.json:
        described = [task | {"options": as_json(task["options"])} for task in descriptions]
        print(json.dumps(finite({"tasks": described}), allow_nan=False))
        return 0
    console().print(tasks_table(descriptions))
    if not options.name:
        print("gymnasium/NAME: any environment of Gymnasium's registry with continuous actions, as it is")
    elif descriptions[0]["options"]:
        console().print(options_table(descriptions[0]["options"]))
    return 0
