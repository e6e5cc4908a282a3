"""MuJoCo's C engine, called from inside the compiled program: far faster than MJX on a CPU, with nothing to compile."""

import collections
import copy
import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float
from mujoco.rollout import Rollout

from xinet_jax.cores import available_cores
from xinet_jax.tasks.engines.host_call import host_call, host_call_in_two
from xinet_jax.tasks.engines.physics import Engine, Physics


def native_engine(model: mujoco.MjModel, frame_skip: int, derived: Sequence[str] = ()) -> Engine:
    """Returns an engine that steps a whole batch in C threads, one host call per control step of the batch.

    `jax.vmap`, nested or not, turns into one larger batch. States cross in float32; the simulation is in float64.
    """
    model = copy.copy(model)  # the caller's may change later; what is registered under its fingerprint must not
    nq, nv, about = model.nq, model.nv, f"{_fingerprint(model)}_{'_'.join(derived)}"
    fields = _Fields(model, derived)

    def advance(model: mujoco.MjModel, data: mujoco.MjData) -> None:
        mujoco.mj_step(model, data, frame_skip)
        mujoco.mj_rnePostConstraint(model, data)  # external forces

    simulator = _FieldSimulator(model, advance, fields) if derived else _Simulator(model, frame_skip)
    call = (simulator, f"simulate_{about}_{frame_skip}", nq + nv + fields.size)
    simulate, (begin_simulation, finish_simulation) = host_call(*call), host_call_in_two(*call)

    def unpack(row: Array) -> Physics:
        return Physics(row[:nq], row[nq : nq + nv], fields.unpack(row[nq + nv :]))

    def pack(physics: Physics, control: Float[Array, " nu"]) -> Float[Array, " inputs"]:
        return jnp.concatenate([physics.qpos, physics.qvel, control])

    def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
        return unpack(simulate(pack(physics, control)))

    def begin(physics: Physics, control: Float[Array, " nu"]) -> Float[Array, "1"]:
        return begin_simulation(pack(physics, control))

    def finish(physics: Physics, control: Float[Array, " nu"], begun: Float[Array, "1"]) -> Physics:
        return unpack(finish_simulation(pack(physics, control), begun))

    if not derived:
        return Engine(step, lambda physics: physics, cheap_start=True, begin=begin, finish=finish)
    complete = host_call(_FieldSimulator(model, mujoco.mj_forward, fields), f"forward_{about}", nq + nv + fields.size)

    def forward(physics: Physics) -> Physics:
        return physics._replace(derived=unpack(complete(pack(physics, jnp.zeros(model.nu)))).derived)

    return Engine(step, forward, begin=begin, finish=finish)


class _Fields:
    """Where fields of MuJoCo's data lie in a row of numbers."""

    def __init__(self, model: mujoco.MjModel, names: Sequence[str]):
        data = mujoco.MjData(model)
        self.shapes = {name: getattr(data, name).shape for name in names}
        self.size = sum(map(math.prod, self.shapes.values()))

    def pack(self, data: mujoco.MjData, row: np.ndarray) -> None:
        start = 0
        for name in self.shapes:
            values = getattr(data, name).ravel()
            row[start : start + len(values)] = values
            start += len(values)

    def unpack(self, row: Array) -> dict[str, Array]:
        fields, start = {}, 0
        for name, shape in self.shapes.items():
            fields[name] = row[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return fields


class _Simulator:
    """The host's side: a function of arrays. What it holds is working memory, lent to one call at a time.

    Not `threading.local`: XLA's threads get a new Python thread state, and so a new local, at every callback.
    """

    def __init__(self, model: mujoco.MjModel, frame_skip: int):
        self.model = model
        self.frame_skip = frame_skip
        self.idle: collections.defaultdict[int, list[_Workers]] = collections.defaultdict(list)

    def __call__(self, packed: np.ndarray) -> np.ndarray:
        rows = packed.reshape(-1, packed.shape[-1])
        size = self.model.nq + self.model.nv
        initial = np.zeros((len(rows), 1 + size))  # the first column is time, which no model here depends on
        initial[:, 1:] = rows[:, :size]
        control = np.repeat(rows[:, None, size:].astype(np.float64), self.frame_skip, axis=1)
        threads = _threads(len(rows))
        workers = self._borrow(threads)
        states, _ = workers.rollout.rollout(self.model, workers.data, initial, control)
        self.idle[threads].append(workers)
        return states[:, -1, 1:].astype(np.float32).reshape(*packed.shape[:-1], size)

    def _borrow(self, threads: int) -> "_Workers":
        try:
            return self.idle[threads].pop()
        except IndexError:
            data = [mujoco.MjData(self.model) for _ in range(threads)]
            # A batch of one runs on the calling thread: waking another costs more than the step.
            return _Workers(Rollout(nthread=threads if threads > 1 else 0), data)


class _Workers(NamedTuple):
    rollout: Rollout
    data: list[mujoco.MjData]


class _FieldSimulator:
    """The same where more is asked for than positions and velocities, which MuJoCo's rollout does not give."""

    def __init__(
        self, model: mujoco.MjModel, advance: Callable[[mujoco.MjModel, mujoco.MjData], None], fields: _Fields
    ):
        self.model, self.advance, self.fields = model, advance, fields
        self.idle: list[mujoco.MjData] = []
        self.pool = ThreadPoolExecutor(available_cores())

    def __call__(self, packed: np.ndarray) -> np.ndarray:
        rows = packed.reshape(-1, packed.shape[-1])
        nq, nv = self.model.nq, self.model.nv
        results = np.empty((len(rows), nq + nv + self.fields.size), np.float32)
        threads = _threads(len(rows))
        if threads == 1:
            self._run(rows, results)
        else:  # MuJoCo lets go of Python's lock while it computes
            parts = zip(np.array_split(rows, threads), np.array_split(results, threads), strict=True)
            list(self.pool.map(lambda part: self._run(*part), parts))
        return results.reshape(*packed.shape[:-1], results.shape[1])

    def _run(self, rows: np.ndarray, results: np.ndarray) -> None:
        model, nq, nv = self.model, self.model.nq, self.model.nv
        try:
            data = self.idle.pop()
        except IndexError:
            data = mujoco.MjData(model)
        for row, result in zip(rows, results, strict=True):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:], data.ctrl[:] = row[:nq], row[nq : nq + nv], row[nq + nv :]
            self.advance(model, data)
            result[:nq], result[nq : nq + nv] = data.qpos, data.qvel
            self.fields.pack(data, result[nq + nv :])
        self.idle.append(data)


def _threads(count: int) -> int:
    # Each device calls for its own members, so devices share the cores.
    return min(count, max(1, available_cores() // jax.local_device_count()))


def _fingerprint(model: mujoco.MjModel) -> str:
    """Returns a name for all that a model says, the same in every process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return hashlib.sha256(content.tobytes()).hexdigest()[:16]
