"""Checks every typed array of the package while the tests run, and keeps compiled programs between runs."""

import gc
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from jaxtyping import install_import_hook

# The configuration and the command line check values themselves, and tell the user: their tests hand them wrong ones.
_UNCHECKED = re.compile(r"xinet_jax\.((config|command_line)(\..*)?|cli)")
_PACKAGE = Path(__file__).parent.parent / "xinet_jax"
_MODULES = [".".join(p.relative_to(_PACKAGE.parent).with_suffix("").parts) for p in _PACKAGE.rglob("[a-z]*.py")]
install_import_hook([name for name in _MODULES if not _UNCHECKED.fullmatch(name)], "beartype.beartype")

# Tests compile much and compute little. Without LLVM's optimisation compiling takes half the time, and with XLA's older
# code generator a third of that. Newer versions lack its flag, and XLA ends the process for unknown ones.
_FLAGS = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _FLAGS)

import jax  # noqa: E402
import pytest  # noqa: E402

from xinet_jax.training import memory  # noqa: E402

if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "xinet_jax"))

# What is dropped from memory between tests is read again from the disk, however short its compilation was.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.devices()  # one CPU device, whichever test comes first

# JAX makes and drops millions of small objects while it traces. Python need not look through all modules for garbage.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)


_GROWTH = 1.2e9  # of resident memory, since it was last cleared, at which compiled programs are dropped [bytes]
_cleared_at = [0.4e9]  # resident memory when it was last cleared [bytes]


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """Drops the programs that were compiled so far, before they come to gigabytes."""
    yield
    if _resident() > _cleared_at[0] + _GROWTH:
        jax.clear_caches()
        memory.give_back()
        _cleared_at[0] = _resident()


def _resident() -> float:
    """Returns this process's resident memory, where the system says it [bytes]."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


@pytest.fixture
def key() -> jax.Array:
    return jax.random.PRNGKey(0)
