"""Host functions inside compiled programs: called once per batch, errors told, the program kept from run to run."""

import ctypes
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.compat import xla
from xinet_jax.tasks.engines.host_call import host_call, host_call_in_two


def test_a_batch_is_one_call_however_it_is_nested():
    calls = []

    def double(x):
        calls.append(x.shape)
        return 2 * x[..., :2]

    call = host_call(double, "double", 2)
    x = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.vmap(call)))(x), 2 * x[..., :2])
    np.testing.assert_array_equal(jax.jit(call)(x[0, 0]), 2 * x[0, 0, :2])
    np.testing.assert_array_equal(call(x), 2 * x[..., :2])
    assert calls == [(2, 3, 4), (4,), (2, 3, 4)]


def test_loops_and_threads_get_their_own_results():
    call = host_call(lambda x: x + 1, "increment", 3)
    count = jax.jit(lambda x: jax.lax.fori_loop(0, 200, lambda _, carry: call(carry), x))
    results = {}

    def run(start):
        results[start] = np.asarray(count(jnp.full(3, float(start))))

    threads = [threading.Thread(target=run, args=(1000 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) == {0, 1000, 2000, 3000}
    for start, result in results.items():
        np.testing.assert_array_equal(result, start + 200)


def test_an_error_on_the_host_ends_the_program_and_is_told():
    def fail(x):
        raise ValueError(f"cannot take {x.shape[-1]} numbers")

    call = host_call(fail, "fail", 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="ValueError: cannot take 4 numbers"):
        jax.block_until_ready(jax.jit(call)(jnp.ones(4)))


def test_a_wrong_shape_or_a_changed_argument_is_told():
    narrow = host_call(lambda x: x[..., :1], "narrow", 3)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"must return shape \(3,\), not \(1,\)"):
        jax.block_until_ready(jax.jit(narrow)(jnp.ones(4)))

    def overwrite(x):
        x[...] = 0
        return x

    call = host_call(overwrite, "overwrite", 4)
    with pytest.raises(jax.errors.JaxRuntimeError, match="read-only"):
        jax.block_until_ready(jax.jit(call)(jnp.ones(4)))


def test_a_call_in_two_is_the_call():
    begin, finish = host_call_in_two(lambda x: 2 * x[..., :2], "double_in_two", 2)
    call = jax.jit(jax.vmap(lambda x: finish(x, begin(x) + 1.0)))
    x = jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(call(x), 2 * x[:, :2])


def test_an_nvidia_gpu_calls_the_two_parts_in_turn():
    begin, finish = host_call_in_two(lambda x: x, "in_turn", 4)
    lowered = jax.jit(lambda x: finish(x, begin(x))).trace(jnp.ones(4)).lower(lowering_platforms=("cuda",))
    names = [line.split("@")[1].split("(")[0] for line in lowered.as_text().splitlines() if "custom_call @" in line]
    assert names == ["xinet_jax.in_turn.in_two.begin", "xinet_jax.in_turn.in_two.finish"]


class FakeDriver:
    """NVIDIA's driver, as far as host calls use it, where the GPU's memory is the host's."""

    def __init__(self):
        self.calls = []

    def _copy(self, target, source, size, stream):
        self.calls.append(size)
        ctypes.memmove(target, source, size)
        return 0

    cuMemcpyDtoHAsync_v2 = cuMemcpyHtoDAsync_v2 = _copy

    def cuStreamSynchronize(self, stream):
        self.calls.append("wait")
        return 0


def test_what_runs_on_a_gpu_copies_there_and_back(monkeypatch):
    """The handlers for CUDA, registered for the CPU: all of them but the driver itself."""
    driver, register = FakeDriver(), xla._register
    monkeypatch.setattr(xla, "_cuda", lambda: driver)
    monkeypatch.setattr(xla, "_stream", lambda frame: 0)
    monkeypatch.setattr(xla, "_register", lambda execute, name, platform, tell: register(execute, name, "cpu", tell))
    threads = []

    def double(x):
        threads.append(threading.current_thread())
        return 2 * x

    kept = xla.register_in_two(double, "test.on_a_gpu", lambda interrupt: None)
    like = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    begin = jax.ffi.ffi_call("test.on_a_gpu.begin", jax.ShapeDtypeStruct((2, 1), jnp.float32))
    finish = jax.ffi.ffi_call("test.on_a_gpu.finish", like)
    x = jnp.arange(6.0).reshape(2, 3)
    for _ in range(3):
        np.testing.assert_array_equal(jax.jit(lambda x: finish(begin(x)))(x), 2 * x)
    assert driver.calls == 3 * [24, "wait", 24], "it does not wait a second time"
    assert all(thread is not threading.current_thread() for thread in threads)
    assert len(kept) == 2


def test_numbers_of_any_type_arrive_as_float32():
    call = host_call(lambda x: x / 2, "halve", 3)
    np.testing.assert_array_equal(jax.jit(call)(jnp.arange(3)), [0.0, 0.5, 1.0])


def test_the_program_is_kept_from_run_to_run(tmp_path):
    script = """
import jax, jax.numpy as jnp
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task
task = load_task("Hopper-v5", "native")
step = lambda state: tasks.step(task, state, jnp.ones(3))[0]
@jax.jit
def program(state):
    return jax.lax.fori_loop(0, 10, lambda _, carry: step(carry), state)
print(float(program(tasks.reset(task, jax.random.PRNGKey(0))).episode_return))
"""
    cache = tmp_path / "cache"
    always = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    said, kept = [], []
    for _ in range(2):
        command = [sys.executable, "-c", script]
        said.append(subprocess.run(command, env=os.environ | always, capture_output=True, text=True, check=True).stdout)
        kept.append(sorted(path.name for path in cache.glob("jit_program-*-cache")))
    assert said[0] == said[1] != ""
    assert len(kept[0]) == 1
    assert kept[0] == kept[1], "the second run must find the program of the first"


def test_gpus_multiply_by_cublas_unless_the_user_says_otherwise(monkeypatch):
    assert xla.jit_options("cpu") == xla.jit_options("tpu") == {}
    assert xla.jit_options("gpu") == {"compiler_options": {"xla_gpu_enable_triton_gemm": False}}
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_triton_gemm=true")
    assert xla.jit_options("gpu") == {}
