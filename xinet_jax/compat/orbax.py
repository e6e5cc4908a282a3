"""What is private to Orbax, or to the event loops that it writes by."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import ocdbt_utils, tensorstore_utils


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


class _EveryProcessHandler(ocp.type_handlers.NumpyHandler):
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


def handler() -> ocp.PyTreeCheckpointHandler:
    """Returns Orbax's handler of trees of numpy arrays, for this process alone."""
    if jax.process_count() == 1:
        writer = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)  # what is given to it is a copy already
        of_jax = (jax.Array, ocp.type_handlers.ArrayHandler())  # none is written, but Orbax warns where it is missing
        registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, writer), of_jax)
        return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
    writer = _EveryProcessHandler(deepcopy_host_arrays=False)
    registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, writer))
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry, multiprocessing_options=alone())


def alone() -> ocp.options.MultiprocessingOptions:
    """Returns Orbax's options for a process that waits for no other."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
