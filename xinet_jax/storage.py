"""Trees of numpy arrays as Orbax files, which every process of a run writes and reads by itself."""

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import ocdbt_utils, tensorstore_utils

from xinet_jax.types import Tree


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that hears no more once it is closed, where others would raise an error.

    When one of several arrays fails, Orbax raises its error and closes its loop; TensorStore still reports the others
    to it. Each report would print a traceback, for the closed loop or for an error that nobody asked about.
    """

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        pass

    def call_soon_threadsafe(self, callback: Callable, *args: Any, context: Any = None) -> asyncio.Handle | None:
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        except RuntimeError:
            if self.is_closed():
                return None
            raise


def quiet_loops() -> None:
    """Makes this program's event loops `_Loop`s, where Python still lets a program choose."""
    if sys.version_info < (3, 14):
        policy = asyncio.DefaultEventLoopPolicy()
        policy._loop_factory = _Loop
        asyncio.set_event_loop_policy(policy)


class _OwnNumpyHandler(ocp.type_handlers.NumpyHandler):
    """Writes numpy arrays whichever process it is in; Orbax's own leaves it to the first process of all."""

    async def _background_serialize(self, values: Sequence, infos: Sequence, args: Sequence | None = None) -> None:
        async def write(value: np.ndarray, info: Any, arg: Any) -> None:
            await info.await_path_creation()
            ocdbt = info.is_ocdbt_checkpoint
            process = ocdbt_utils.get_process_index_for_subdir(use_ocdbt=ocdbt, override_ocdbt_process_id=None)
            shapes = {"global_shape": value.shape, "local_shape": value.shape, "dtype": value.dtype}
            spec = tensorstore_utils.build_array_write_spec(
                info=info, arg=arg, **shapes, use_ocdbt=ocdbt, process_index=process
            )
            await self._open_and_write(value, spec.json, info.ts_context)

        await asyncio.gather(*map(write, values, infos, args or [ocp.SaveArgs()] * len(values)))


_PLAIN = re.compile(r"[A-Za-z0-9/._ -]*")


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Gives a folder a path that means nothing else to Orbax, for as long as it is needed.

    Orbax takes brackets, stars and question marks in a path for a pattern, a backslash for an escape, and a colon for
    the end of a scheme. Such a folder is reached through a symbolic link in the system's temporary folder.
    """
    folder = folder.absolute()
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    with plain_folder() as aside:
        link = aside / "folder"
        link.symlink_to(folder, target_is_directory=True)
        yield link


@contextlib.contextmanager
def plain_folder() -> Iterator[Path]:
    """Gives a new temporary folder with such a path. Raises OSError if the system's is none, and /tmp will not do."""
    system = Path(tempfile.gettempdir()).absolute()
    with tempfile.TemporaryDirectory(
        prefix="xinet_jax_", dir=system if _PLAIN.fullmatch(str(system)) else "/tmp"
    ) as folder:
        yield Path(folder)


def save_arrays(path: Path, tree: Tree) -> None:
    """Writes a tree of numpy arrays to a new folder."""
    with ocp.Checkpointer(handler(), multiprocessing_options=alone()) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(tree))


def reader() -> ocp.StandardCheckpointer:
    """Returns what reads such a folder: its `metadata`, and `restore`."""
    return ocp.StandardCheckpointer(multiprocessing_options=alone())


def handler() -> ocp.PyTreeCheckpointHandler:
    """Returns Orbax's handler of trees of numpy arrays, for this process alone."""
    if jax.process_count() == 1:
        own = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)  # what is given to it is a copy already
        of_jax = (jax.Array, ocp.type_handlers.ArrayHandler())  # none is written, but Orbax warns where it is missing
        registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, own), of_jax)
        return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
    own = _OwnNumpyHandler(deepcopy_host_arrays=False)
    registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, own))
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry, multiprocessing_options=alone())


def alone() -> ocp.options.MultiprocessingOptions:
    """Returns Orbax's options for a process that waits for no other."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
