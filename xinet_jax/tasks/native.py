"""MuJoCo's C engine, called from inside the compiled program: far faster than MJX on a CPU, with nothing to compile."""

import collections
import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float
from mujoco.rollout import Rollout

from xinet_jax.cores import available_cores
from xinet_jax.tasks.host_call import host_call
from xinet_jax.tasks.physics import Engine, Physics


def native_engine(model: mujoco.MjModel, frame_skip: int) -> Engine:
    """Returns an engine that steps a whole batch in C threads, one host call per control step of the batch.

    `jax.vmap`, nested or not, turns into one larger batch. States cross in float32; the simulation is in float64.
    """
    name = f"simulate_{_fingerprint(model)}_{frame_skip}"
    simulate = host_call(_Simulator(model, frame_skip), name, model.nq + model.nv)
    nq = model.nq

    def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
        after = simulate(jnp.concatenate([physics.qpos, physics.qvel, control]))
        return Physics(after[:nq], after[nq:])

    return step


class _Simulator:
    """The host's side: a function of arrays. What it holds is working memory, lent to one call at a time.

    Not `threading.local`: XLA's threads get a new Python thread state, and so a new local, at every callback.
    """

    def __init__(self, model: mujoco.MjModel, frame_skip: int):
        if model.na or model.nmocap:
            raise NotImplementedError("models with actuator activations or mocap bodies are not supported")
        self.model = model
        self.frame_skip = frame_skip
        self.idle: collections.defaultdict[int, list[_Workers]] = collections.defaultdict(list)

    def __call__(self, packed: np.ndarray) -> np.ndarray:
        rows = packed.reshape(-1, packed.shape[-1])
        size = self.model.nq + self.model.nv
        initial = np.zeros((len(rows), 1 + size))  # the first column is time, which no model here depends on
        initial[:, 1:] = rows[:, :size]
        control = np.repeat(rows[:, None, size:].astype(np.float64), self.frame_skip, axis=1)
        # Each device calls for its own members, so devices share the cores.
        threads = min(len(rows), max(1, available_cores() // jax.local_device_count()))
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


def _fingerprint(model: mujoco.MjModel) -> str:
    """Returns a name for all that a model says, the same in every process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return hashlib.sha256(content.tobytes()).hexdigest()[:16]
