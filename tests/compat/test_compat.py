"""What the package uses of other libraries beyond their public interfaces: each test says what broke."""

import asyncio
import inspect

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax._src import distributed
from jax.experimental import multihost_utils
from orbax.checkpoint._src.serialization import ocdbt_utils, tensorstore_utils

from xinet_jax.compat import mjx, xla
from xinet_jax.compat import orbax as orbax_compat
from xinet_jax.compat.jax import in_float32

MODEL = "<mujoco><worldbody><body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"


def parameters(function):
    return set(inspect.signature(function).parameters)


def test_jax_still_computes_in_float32_where_64_bits_are_enabled():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        kind = in_float32(lambda: jnp.ones(2) * np.float64(2))().dtype
    assert kind == jnp.float32, "JAX switches 64 bits off in another way: compat/jax.py, in_float32"


def test_jax_has_a_coordination_service():
    assert hasattr(distributed.global_state, "client"), "JAX hides its coordinator: compat/jax.py, coordinator"
    message = "JAX has no live_devices any more: compat/jax.py, wait_for_live_processes"
    assert hasattr(multihost_utils, "live_devices"), message


def test_orbax_lets_every_process_write_numpy_arrays():
    handler = ocp.type_handlers.NumpyHandler
    for name in ("_background_serialize", "_open_and_write"):
        assert hasattr(handler, name), f"Orbax's NumpyHandler has no {name} any more: compat/orbax.py"
    assert parameters(handler._background_serialize) == {"self", "values", "infos", "args"}, "compat/orbax.py"
    asked = {"use_ocdbt", "override_ocdbt_process_id"}
    assert asked <= parameters(ocdbt_utils.get_process_index_for_subdir), "compat/orbax.py, _EveryProcessHandler"
    asked = {"info", "arg", "global_shape", "local_shape", "dtype", "use_ocdbt", "process_index"}
    assert asked <= parameters(tensorstore_utils.build_array_write_spec), "compat/orbax.py, _EveryProcessHandler"
    assert isinstance(orbax_compat.handler(), ocp.PyTreeCheckpointHandler)
    assert isinstance(orbax_compat.alone(), ocp.options.MultiprocessingOptions)


def test_a_closed_event_loop_takes_late_reports_in_silence():
    loop = orbax_compat._Loop()
    loop.close()
    assert loop.call_soon_threadsafe(print) is None, "asyncio's loops report in another way: compat/orbax.py, _Loop"
    assert hasattr(asyncio.DefaultEventLoopPolicy(), "_loop_factory"), "compat/orbax.py, quiet_loops"


def test_mjx_turns_quaternions():
    turned = mjx.quat_integrate(jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([0.0, 0.0, np.pi]), 0.5)
    expected = [np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4)]
    np.testing.assert_allclose(turned, expected, atol=1e-6, err_msg="compat/mjx.py, quat_integrate")


@pytest.mark.parametrize("name", ["xpos", "cinert", "cvel", "qfrc_actuator", "qfrc_constraint", "cfrc_ext"])
def test_mjx_has_the_fields_that_tasks_ask_for(name):
    data = mjx.mjx.make_data(mujoco.MjModel.from_xml_string(MODEL), impl="jax")
    assert mjx.fields_of(data, [name])[name].ndim > 0, "MJX keeps this field elsewhere: compat/mjx.py, fields_of"


def test_mjx_computes_external_forces_by_warp():
    pytest.importorskip("warp")
    model = mjx.mjx.put_model(mujoco.MjModel.from_xml_string(MODEL), impl="warp")
    wanted = mjx.with_external_forces(model).opt._impl.run_rne_postconstraint
    assert wanted, "MJX's Warp implementation takes this option elsewhere: compat/mjx.py, with_external_forces"


def test_xla_calls_a_function_by_name():
    kept = xla.register(lambda x: 2.0 * x, "xinet_jax.test_compat", on_interrupt=lambda error: None)
    double = jax.ffi.ffi_call("xinet_jax.test_compat", jax.ShapeDtypeStruct((3,), jnp.float32))
    message = "XLA's interface has other structures: compat/xla.py"
    np.testing.assert_array_equal(jax.jit(double)(jnp.arange(3.0)), [0.0, 2.0, 4.0], err_msg=message)
    assert kept
