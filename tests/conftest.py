"""Checks every typed array of the package while the tests run, and keeps compiled programs between runs."""

import os
from pathlib import Path

from jaxtyping import install_import_hook

# The configuration and the command line check values themselves, and tell the user: their tests hand them wrong ones.
_UNCHECKED = ("config", "cli")
_PACKAGE = Path(__file__).parent.parent / "xinet_jax"
_MODULES = [".".join(p.relative_to(_PACKAGE.parent).with_suffix("").parts) for p in _PACKAGE.rglob("[a-z]*.py")]
install_import_hook([name for name in _MODULES if name.split(".")[-1] not in _UNCHECKED], "beartype.beartype")

# Tests compile much and compute little: without LLVM's optimisation they take half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax  # noqa: E402
import pytest  # noqa: E402

if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "xinet_jax"))

jax.devices()  # one CPU device, whichever test comes first


@pytest.fixture
def key() -> jax.Array:
    return jax.random.PRNGKey(0)
