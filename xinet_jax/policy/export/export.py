"""Exports of a policy: files that act without this package, checked against the policy before they are written."""

import contextlib
import importlib
from pathlib import Path

import numpy as np

import xinet_jax
from xinet_jax.atomic import replacing
from xinet_jax.errors import UserError, first_line
from xinet_jax.policy.export.check import checked_difference, random_observations
from xinet_jax.policy.export.target import Export, format_of, identifier, target_files
from xinet_jax.policy.policy import Policy
from xinet_jax.policy.structure import Structure


def export(policy: Policy, file: Path | str, format: str | None = None, overwrite: bool = False) -> Export:
    """Writes a policy to files of another format, if they compute the same. See `Policy.export`."""
    format = format_of(file, format)
    files, network = target_files(file, format, overwrite), policy.network
    if not all(np.isfinite(array).all() for layer in network.layers for array in (layer.kernel, layer.bias)):
        raise UserError("the policy has weights that are not finite: it cannot be exported")
    module = importlib.import_module(f"xinet_jax.policy.export.to_{format}")
    contents = module.encode(network, origin(policy.structure), identifier(files[0]))
    observations = random_observations(network.observation)
    actions = module.run(contents[0], observations)
    difference = None if actions is None else checked_difference(network, observations, actions)
    try:
        with contextlib.ExitStack() as stack:  # both files, or none
            for path, content in zip(files, contents, strict=True):
                stack.enter_context(replacing(path)).write_bytes(content)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {getattr(error, 'strerror', None) or first_line(error)}") from None
    return Export(files, difference)


def origin(structure: Structure) -> dict[str, str]:
    """Returns what is written into a file about the policy in it."""
    price = {} if structure.nu is None else {"nu": f"{structure.nu:g}"}
    return {
        "task": structure.task,
        "agent": structure.agent,
        "seed": str(structure.seed),
        **price,
        "environment_steps": str(structure.environment_steps),
        "parameters": str(structure.parameters),
        "xinet_jax": xinet_jax.__version__,
    }
