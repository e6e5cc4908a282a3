"""Checkpoints: all that a run needs to go on, written by Orbax beside the training.

A checkpoint holds every array of every member (of the replay only the part that is filled) and a header. The header is
the run's description (`xinet_jax.training.description`), with the format and every array's shape, type and checksum.
Whoever reads it makes the agent from the header first, and takes the arrays only if they are what it says.
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
from xinet_jax.errors import UserError, brief, first_line
from xinet_jax.storage import plain_path
from xinet_jax.telemetry.json_lines import finite
from xinet_jax.types import Tree

FORMAT = "xinet_jax checkpoint 4"  # older ones have replays of whole transitions
_STEP = re.compile(r"\d+")


class Checkpoints:
    """The checkpoints of one process of a run. Writing goes on in the background; failures are noted, never raised.

    Args:
      folder: where they are kept.
      keep: how many of the newest to keep; the one with the best return is kept beside them.
      note: prints one line.
    """

    def __init__(self, folder: Path, keep: int, note: Callable[[str], None]):
        self._folder, self._keep, self._note = folder.absolute(), keep, note
        self._manager: ocp.CheckpointManager | None = None
        self._path = contextlib.ExitStack()  # the path that it writes to
        self._failed = False

    def save(self, step: int, state: Tree, description: dict[str, Any], episode_return: float | None) -> None:
        """Starts to write a checkpoint, once the one before is written.

        Args:
          step: environment steps; if there is one of that number already, it stays.
          state: all members' arrays, on the host. They must not change any more.
          description: what else to write down, as JSON.
          episode_return: what the best is chosen by; None if nothing was evaluated yet.
        """
        arrays = flatten(state)
        header = finite(description | {"format": FORMAT, "arrays": describe(arrays)})
        header["crc32"] = checksum(header)
        metrics = None if episode_return is None or not math.isfinite(episode_return) else {"return": episode_return}
        try:
            self.wait()
            manager = self._open()
            if step in manager.all_steps():  # it is as good, but for updates of OFENet alone
                return
            stored = {name: array for name, array in arrays.items() if array.size}  # Orbax refuses empty ones
            items = ocp.args.Composite(state=ocp.args.PyTreeSave(stored), about=ocp.args.JsonSave(header))
            if not manager.save(step, args=items, metrics=metrics):
                raise OSError(f"Orbax would not write step {step}")
        except Exception as error:  # Orbax raises many kinds when a disk is full or gone
            self._fail(error)

    def wait(self) -> None:
        """Waits until all is written, and notes if it could not be."""
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
            self._note("checkpoints are written again")

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
        """Notes a failure once, and starts anew at the next checkpoint."""
        if not self._failed:
            self._note(f"cannot write checkpoints to {self._folder}: {first_line(error)}; training goes on")
        self._failed = True
        try:
            self._close_manager()
        except Exception:
            logging.getLogger(__name__).debug("closing after a failure", exc_info=True)


def candidates(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    complete = [path for path in folder.absolute().iterdir() if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(complete, key=lambda path: int(path.name), reverse=True)


def read_header(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's header. Raises DamagedCheckpoint if it is damaged."""
    try:
        with plain_path(path) as plain:
            header = ocp.JsonCheckpointHandler(multiprocessing_options=alone()).restore(epath.Path(plain / "about"))
    except Exception as error:
        raise damaged(path, error) from None
    arrays = header.get("arrays") if isinstance(header, dict) else None
    known = isinstance(arrays, dict) and all(isinstance(array, dict) for array in arrays.values())
    if not known or header.get("format") != FORMAT:
        format_read = header.get("format") if isinstance(header, dict) else None
        raise damaged(path, f"its description is not of format '{FORMAT}' but {brief(format_read, quoted=True)}")
    if header.get("crc32") != checksum(header):
        raise damaged(path, "its description is not what was written")
    return header


def set_aside(path: Path) -> None:
    """Renames a checkpoint that cannot be used, so that newer ones can be written."""
    path.rename(path.with_name(f"damaged_{path.name}_{time.time_ns()}"))


def read_state(path: Path, header: dict[str, Any], expected: Tree) -> Tree:
    """Reads a checkpoint's arrays into the structure of `expected`.

    Args:
      path: the checkpoint.
      header: its header.
      expected: the tree that is wanted, with shapes and types.

    Raises:
      DamagedCheckpoint: if the arrays are not those, or not what was written.
    """
    wanted = flatten(expected)
    kinds = {name: _kind(leaf) for name, leaf in wanted.items()}
    arrays = header["arrays"]
    if {name: {key: array.get(key) for key in ("shape", "dtype")} for name, array in arrays.items()} != kinds:
        raise damaged(path, "its arrays are not those of this configuration")
    try:
        with plain_path(path) as plain, contextlib.closing(handler()) as orbax:
            folder = epath.Path(plain / "state")
            stored = {name: _kind(leaf) for name, leaf in orbax.metadata(folder).tree.items()}
            empty = {
                name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in wanted.items() if math.prod(leaf.shape) == 0
            }
            if stored != {name: kind for name, kind in kinds.items() if name not in empty}:
                raise damaged(path, "its arrays are not of the sizes that its description says")
            as_numpy = dict.fromkeys(stored, ocp.RestoreArgs(restore_type=np.ndarray))
            restored = orbax.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except UserError:
        raise
    except Exception as error:
        raise damaged(path, error) from None
    restored = {name: np.asarray(array) for name, array in (restored | empty).items()}
    sums = describe(restored)
    for name in wanted:
        if sums[name] != arrays[name]:
            raise damaged(path, f"array {name} is not what was written")
    return jax.tree.unflatten(jax.tree.structure(expected), [restored[name] for name in wanted])


class DamagedCheckpoint(UserError):
    """A checkpoint cannot be used, but another may."""


def damaged(path: Path, reason: Exception | str) -> DamagedCheckpoint:
    """Returns the error for a checkpoint that cannot be used."""
    words = first_line(reason) if isinstance(reason, Exception) else reason[:200]
    return DamagedCheckpoint(f"damaged checkpoint {path}: {words}")


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns a tree's leaves by their paths, a dot between the names."""
    return {".".join(_names(path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def describe(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns every array's shape, type and checksum (CRC-32)."""

    def one(array: np.ndarray) -> dict[str, Any]:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return _kind(array) | {"crc32": zlib.crc32(content)}

    with ThreadPoolExecutor() as pool:  # crc32 lets other threads run
        return dict(zip(arrays, pool.map(one, arrays.values()), strict=True))


def checksum(header: dict[str, Any]) -> int:
    """Returns the checksum (CRC-32) of all that a header says, but for the checksum itself."""
    content = {name: value for name, value in header.items() if name != "crc32"}
    return zlib.crc32(json.dumps(finite(content), sort_keys=True, allow_nan=False).encode())


def _kind(leaf: Any) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": str(np.dtype(leaf.dtype))}


def _names(path: tuple) -> Iterator[str]:
    for key in path:
        yield str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
