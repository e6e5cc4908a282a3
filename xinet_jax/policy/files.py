"""Policies on disk: an Orbax tree of arrays, and a small JSON file that says what they are.

Loading reads numbers and names only: no pickle, no code, no original configuration.
"""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np

from xinet_jax.compat.jax import in_float32
from xinet_jax.errors import UserError, first_line
from xinet_jax.networks import layout
from xinet_jax.networks.layer_count import in_policy
from xinet_jax.policy.policy import Policy
from xinet_jax.policy.structure import FORMAT, STRUCTURE_FILE, Structure, load_structure, structure_as_json
from xinet_jax.storage import plain_folder, plain_path, reader, save_arrays
from xinet_jax.types import Tree

_ARRAYS_FOLDER = "arrays"


def save_policy(policy: Policy, folder: Path) -> None:
    """Writes a policy to a new folder. Raises UserError if it cannot be written."""
    content = {"format": FORMAT} | structure_as_json(policy.structure)
    try:
        folder.mkdir(parents=True)
        (folder / STRUCTURE_FILE).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        with plain_folder() as aside:
            save_arrays(aside / _ARRAYS_FOLDER, jax.tree.map(np.asarray, policy.arrays))
            shutil.copytree(aside / _ARRAYS_FOLDER, folder / _ARRAYS_FOLDER)
    except Exception as error:  # Orbax raises many kinds when a disk is full
        if isinstance(error, shutil.Error):  # a list of what could not be copied, and why
            error = OSError(error.args[0][0][-1])
        raise UserError(f"cannot save policy {folder}: {first_line(error)}") from None


def find_policies(path: Path | str) -> list[Path]:
    """Returns the policy folders at a path: itself, or those of a run folder, by nu and seed.

    Raises:
      UserError: if there are none.
    """
    path = Path(path)
    try:
        if (path / STRUCTURE_FILE).is_file():
            return [path]
        for root in (path / "policy", path):
            folders = [file.parent for file in root.glob(f"*/{STRUCTURE_FILE}")]
            if folders:
                return sorted(folders, key=_in_order)
        missing = "does not exist" if not path.exists() else "is a file, not a folder"
        what = "holds no policy" if path.is_dir() else missing
    except (OSError, ValueError) as error:  # no permission, a name too long, a null character
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    raise UserError(f"{path} {what}: give a run folder, or one of its policy/seed_N folders")


def _in_order(folder: Path) -> list[float | str]:
    """Sorts names by the numbers in them."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", folder.name)
    return [float(part) if k % 2 else part for k, part in enumerate(parts)]


@in_float32
def load_policy(path: Path | str) -> Policy:
    """Reads one policy.

    Args:
      path: a policy folder, or a run folder that holds exactly one.

    Raises:
      UserError: if there is no policy or more than one, or if it is damaged.
    """
    folders = find_policies(path)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise UserError(f"{path} holds {len(folders)} policies ({names}): give the folder of one")
    structure = load_structure(folders[0])
    try:
        expected, biased = expected_arrays(structure), False
        with plain_path(folders[0]) as folder, reader() as checkpointer:
            metadata = checkpointer.metadata(folder / _ARRAYS_FOLDER).item_metadata
            if metadata is None:
                raise UserError(f"damaged policy {folders[0]}: its arrays are missing or unreadable")
            stored = metadata.tree
            shapes = jax.tree.map(lambda leaf: tuple(leaf.shape), stored, is_leaf=lambda x: hasattr(x, "shape"))
            if shapes == jax.tree.map(lambda leaf: tuple(leaf.shape), _with_bias(expected)):
                expected, biased = _with_bias(expected), "ofenet" in expected
            if shapes != jax.tree.map(lambda leaf: tuple(leaf.shape), expected):
                raise UserError(
                    f"damaged policy {folders[0]}: the arrays are not of the sizes that {STRUCTURE_FILE} says"
                )
            arrays = checkpointer.restore(folder / _ARRAYS_FOLDER, jax.tree.map(_on_host, expected))
        arrays = _without_bias(arrays) if biased else arrays
    except UserError:
        raise
    except Exception as error:  # Orbax raises many kinds for broken files
        raise UserError(f"damaged policy {folders[0]}: {first_line(error)}") from None
    return Policy(structure, arrays)


def expected_arrays(structure: Structure) -> dict[str, Tree]:
    """Returns the shapes that a structure's arrays must have, without allocating any."""

    def of_size(*sizes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, np.float32)

    arrays = {}
    for layer in layout.stored(structure.shape):
        if all(in_policy(group.network, group.name) for group in layer.outputs):
            inputs, units = layout.size(layer.inputs), layout.size(layer.outputs)
            arrays |= {(*layer.path, name): of_size(units) for name in layer.vectors}
            arrays |= {("statistics", *layer.path[1:], name): of_size(units) for name in layer.averages}
            if layer.inputs:
                arrays[layer.kernel] = of_size(inputs, units)
    return layout.nested(arrays)


def _with_bias(expected: dict[str, Tree]) -> dict[str, Tree]:
    """Returns the shapes of the same policy as `BIASED_FORMAT` stored it."""
    if not expected.get("ofenet"):
        return expected
    branch = expected["ofenet"]["state"]
    kernel = branch["input"]["kernel"]
    bias = jax.ShapeDtypeStruct(kernel.shape[-1:], kernel.dtype)
    return expected | {"ofenet": {"state": branch | {"input": {"kernel": kernel, "bias": bias}}}}


def _without_bias(arrays: dict[str, Tree]) -> dict[str, Tree]:
    """Returns a policy that computes the same without biases: the running means that are subtracted after them fall."""
    branch, statistics = dict(arrays["ofenet"]["state"]), dict(arrays["statistics"]["state"])
    bias, start = branch["input"]["bias"], 0
    for name in sorted(statistics, key=lambda name: int(name.removeprefix("norm_"))):
        mean = statistics[name]["mean"]
        statistics[name] = statistics[name] | {"mean": mean - bias[start : start + mean.size]}
        start += mean.size
    branch["input"] = {"kernel": branch["input"]["kernel"]}
    return arrays | {"ofenet": {"state": branch}, "statistics": {"state": statistics}}


def _on_host(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)
