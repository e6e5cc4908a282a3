"""What a fresh process loads with the configuration, and with the agent."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("xinet_jax.config", {"jax", "numpy", "gymnasium", "mujoco"}),
        ("xinet_jax.agent", {"gymnasium", "mujoco"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(module, absent):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not absent & {*loaded}
