"""Checkpoints: all that a run needs to go on, written by Orbax beside the training.

A checkpoint holds every array of every member (of the replay only the part that is filled) and a description: where the
run stands, the sizes that the networks have by then, and every array's shape, type and checksum. Whoever reads it makes
the agent from the description first, and takes the arrays only if they are what it says.
"""

import contextlib
import json
import logging
import math
import re
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from xinet_jax.compat.orbax import alone, handler
from xinet_jax.errors import UserError, brief
from xinet_jax.storage import plain_path
from xinet_jax.telemetry.json_lines import finite
from xinet_jax.types import Tree

FORMAT = "xinet_jax checkpoint 3"  # older ones have biases in OFENet's blocks, with Adam's moments of them
_STEP = re.compile(r"\d+")


class Checkpoints:
    """The checkpoints of one process of a run. Writing goes on in the background; mistakes are told, never raised.

    Args:
      folder: where they are kept.
      keep: how many of the newest to keep; the one with the best return is kept beside them.
      tell: prints one line.
    """

    def __init__(self, folder: Path, keep: int, tell: Callable[[str], None]):
        self._folder, self._keep, self._tell = folder.absolute(), keep, tell
        self._manager: ocp.CheckpointManager | None = None
        self._path = contextlib.ExitStack()  # the path that it writes to
        self._failed = False

    def save(self, step: int, state: Tree, about: dict[str, Any], episode_return: float | None) -> None:
        """Starts to write a checkpoint, once the one before is written.

        Args:
          step: environment steps; if there is one of that number already, it stays.
          state: all members' arrays, on the host. They must not change any more.
          about: what else to write down, as JSON.
          episode_return: what the best is chosen by; None if nothing was evaluated yet.
        """
        arrays = flatten(state)
        about = finite(about | {"format": FORMAT, "arrays": describe(arrays)})
        about["crc32"] = _checksum(about)
        metrics = None if episode_return is None or not math.isfinite(episode_return) else {"return": episode_return}
        try:
            self.wait()
            manager = self._open()
            if step in manager.all_steps():  # it is as good, but for updates of OFENet alone
                return
            stored = {name: array for name, array in arrays.items() if array.size}  # Orbax refuses empty ones
            items = ocp.args.Composite(state=ocp.args.PyTreeSave(stored), about=ocp.args.JsonSave(about))
            if not manager.save(step, args=items, metrics=metrics):
                raise OSError(f"Orbax would not write step {step}")
        except Exception as error:  # Orbax raises many kinds when a disk is full or gone
            self._fail(error)

    def wait(self) -> None:
        """Waits until all is written, and tells if it could not be."""
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            self._fail(error)
            return
        if self._failed:
            self._failed = False
            self._tell("checkpoints are written again")

    def close(self) -> None:
        """Waits until all is written, and lets go of the folder."""
        self.wait()
        self._close_manager()

    def abandon(self) -> None:
        """Lets go of the folder at once, whatever is being written. The process is about to end."""
        self._path.close()

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            newest = checkpoint_managers.LatestN(self._keep)
            best = checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["return"], n=1, keep_checkpoints_without_metrics=False
            )
            options = ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy([newest, best]),
                cleanup_tmp_directories=True,
                create=False,  # Orbax cannot do it for one process of several
                multiprocessing_options=alone(),
            )
            handlers = {"state": handler(), "about": ocp.JsonCheckpointHandler(multiprocessing_options=alone())}
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                path = opened.enter_context(plain_path(self._folder))
                self._manager = ocp.CheckpointManager(path, options=options, item_handlers=handlers)
                self._path = opened.pop_all()
        return self._manager

    def _close_manager(self) -> None:
        manager, self._manager = self._manager, None
        with self._path:
            if manager is not None:
                manager.close()

    def _fail(self, error: Exception) -> None:
        """Tells of a failure once, and starts anew at the next checkpoint."""
        if not self._failed:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self._tell(f"cannot write checkpoints to {self._folder}: {reason[:200]}; training goes on")
        self._failed = True
        try:
            self._close_manager()
        except Exception:
            logging.getLogger(__name__).debug("closing after a failure", exc_info=True)


def candidates(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.absolute().iterdir() if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def read_about(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's description. Raises DamagedCheckpoint if it is damaged."""
    try:
        with plain_path(path) as plain:
            about = ocp.JsonCheckpointHandler(multiprocessing_options=alone()).restore(epath.Path(plain / "about"))
    except Exception as error:
        raise damaged(path, error) from None
    arrays = about.get("arrays") if isinstance(about, dict) else None
    known = isinstance(arrays, dict) and all(isinstance(own, dict) for own in arrays.values())
    if not known or about.get("format") != FORMAT:
        format_read = about.get("format") if isinstance(about, dict) else None
        raise damaged(path, f"its description is not of format '{FORMAT}' but {brief(format_read, quoted=True)}")
    if about.get("crc32") != _checksum(about):
        raise damaged(path, "its description is not what was written")
    return about


def set_aside(path: Path) -> None:
    """Renames a checkpoint that cannot be used, so that newer ones can be written."""
    path.rename(path.with_name(f"damaged_{path.name}_{time.time_ns()}"))


def read_state(path: Path, about: dict[str, Any], expected: Tree) -> Tree:
    """Reads a checkpoint's arrays into the structure of `expected`.

    Args:
      path: the checkpoint.
      about: its description.
      expected: the tree that is wanted, with shapes and types.

    Raises:
      DamagedCheckpoint: if the arrays are not those, or not what was written.
    """
    wanted = flatten(expected)
    declared = {name: _kind(leaf) for name, leaf in wanted.items()}
    said = about["arrays"]
    if {name: {k: own.get(k) for k in ("shape", "dtype")} for name, own in said.items()} != declared:
        raise damaged(path, "its arrays are not those of this configuration")
    try:
        with plain_path(path) as plain, contextlib.closing(handler()) as stored_by:
            stored = stored_by.metadata(epath.Path(plain / "state")).tree
            found = {name: _kind(leaf) for name, leaf in stored.items()}
            empty = {
                name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in wanted.items() if math.prod(leaf.shape) == 0
            }
            if found != {name: own for name, own in declared.items() if name not in empty}:
                raise damaged(path, "its arrays are not of the sizes that its description says")
            as_numpy = dict.fromkeys(found, ocp.RestoreArgs(restore_type=np.ndarray))
            arrays = stored_by.restore(epath.Path(plain / "state"), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except UserError:
        raise
    except Exception as error:
        raise damaged(path, error) from None
    arrays = {name: np.asarray(array) for name, array in (arrays | empty).items()}
    sums = describe(arrays)
    for name in wanted:
        if sums[name] != said[name]:
            raise damaged(path, f"array {name} is not what was written")
    return jax.tree.unflatten(jax.tree.structure(expected), [arrays[name] for name in wanted])


class DamagedCheckpoint(UserError):
    """A checkpoint cannot be used, but another may."""


def damaged(path: Path, why: Exception | str) -> DamagedCheckpoint:
    """Returns the error for a checkpoint that cannot be used."""
    reason = (str(why).splitlines() or [type(why).__name__])[0]
    return DamagedCheckpoint(f"damaged checkpoint {path}: {reason[:200]}")


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns a tree's leaves by their place, a dot between the names."""
    return {".".join(_names(place)): leaf for place, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def describe(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns every array's shape, type and checksum (CRC-32)."""

    def one(array: np.ndarray) -> dict[str, Any]:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return _kind(array) | {"crc32": zlib.crc32(content)}

    with ThreadPoolExecutor() as pool:  # crc32 lets other threads run
        return dict(zip(arrays, pool.map(one, arrays.values()), strict=True))


def _kind(leaf: Any) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": str(np.dtype(leaf.dtype))}


def _checksum(about: dict[str, Any]) -> int:
    content = {name: value for name, value in about.items() if name != "crc32"}
    return zlib.crc32(json.dumps(finite(content), sort_keys=True, allow_nan=False).encode())


def _names(place: tuple) -> Iterator[str]:
    for key in place:
        yield str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
