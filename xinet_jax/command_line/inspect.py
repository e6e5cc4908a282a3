"""`xinet inspect`: shows what is left of saved policies' networks."""

import json
from pathlib import Path

from rich.markup import escape

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import InspectArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import load_libraries
from xinet_jax.config import value_text


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(InspectArguments, arguments, "xinet inspect")
    load_libraries()
    from xinet_jax.networks.complexity import left
    from xinet_jax.policy.files import find_policies
    from xinet_jax.policy.structure import load_structure, structure_as_json
    from xinet_jax.policy.tables import layers_table

    structures = [(folder, load_structure(folder)) for folder in find_policies(options.path)]
    if options.json:
        summaries = []
        for folder, structure in structures:
            summary = {
                "policy": str(folder),
                "policy_bytes": _bytes(folder),
                "parameters_left": left(structure.layers),
                "flops_left": left(structure.layers, "flops"),
                "policy_parameters_left": left(layer for layer in structure.layers if layer.in_policy),
            }
            summaries.append(summary | structure_as_json(structure))
        print(json.dumps({"policies": summaries}, allow_nan=False))
        return 0
    out = console()
    for folder, structure in structures:
        before = sum(layer.parameters_before for layer in structure.layers if layer.in_policy)
        price = "" if structure.nu is None else f", nu {value_text(structure.nu)}"
        price += "".join(f", {name} {value_text(value)}" for name, value in structure.settings.items())
        out.print(
            f"{escape(str(folder))}: {structure.agent} on {structure.task}, seed {structure.seed}{price}, after "
            f"{structure.environment_steps:,} steps; {structure.parameters:,} parameters needed to act "
            f"({structure.parameters / before:.0%} of the dense agent's {before:,}), "
            f"{_bytes(folder):,} bytes",
            highlight=False,
            soft_wrap=True,
        )
        out.print(layers_table([structure]))
    return 0


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
