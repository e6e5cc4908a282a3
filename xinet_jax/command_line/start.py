"""Starts what computes: JAX and MuJoCo, and the cache of compiled programs."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

from xinet_jax.command_line.imports import reason
from xinet_jax.errors import UserError


def start_jax() -> None:
    """Loads what computes, and starts it. Raises UserError if that cannot be done."""
    load_libraries()
    keep_compiled_programs()
    from xinet_jax.training import devices

    devices.start_jax()


def load_libraries() -> None:
    """Loads what computes.

    Raises:
      UserError: if JAX or MuJoCo cannot be loaded, as with nonsense in their environment variables.
    """
    for name in ("jax", "mujoco"):
        try:
            importlib.import_module(name)
        except Exception as error:  # of whatever kind
            raise UserError(f"cannot load {name}: {reason(error)}") from None
    from xinet_jax.compat.orbax import quiet_loops

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's: what matters of it is told in one line of ours
    quiet_loops()


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, or where the user has chosen. Says if that cannot be done."""
    import jax

    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs are many
    # When the disk is full, JAX would say so for every program.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen and "://" in chosen:
        return
    try:
        folder = Path(chosen or _cache_folder())
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        trouble = f"cannot write to {folder}: {error.strerror}"
        if folder.is_dir():  # what is in it can still be read
            jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
        else:
            jax.config.update("jax_enable_compilation_cache", False)
    except RuntimeError:
        trouble = "this user has no home folder"
        jax.config.update("jax_enable_compilation_cache", False)
    advice = "JAX_COMPILATION_CACHE_DIR can name another folder"
    with contextlib.suppress(OSError):
        print(f"xinet: compiled programs are not kept: {trouble}; {advice}", file=sys.stderr, flush=True)


def _cache_folder() -> Path:
    """Returns the user's cache folder. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xinet_jax"
