"""Cheaper physics: the same model, less exactly solved."""

import copy

import mujoco

_ITERATIONS, _LINE_SEARCH = 4, 8


def fast_physics(model: mujoco.MjModel) -> mujoco.MjModel:
    """Returns a copy of a model that takes fewer operations a step; docs/tasks.md has how far off it is.

    Newton's solver with few iterations. A batch takes as many as its slowest robot, which most others do not need. The
    integrator stays: replacing the Runge-Kutta method of most models would be faster still, and other physics.
    """
    model = copy.copy(model)
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    model.opt.iterations = min(model.opt.iterations, _ITERATIONS)
    model.opt.ls_iterations = min(model.opt.ls_iterations, _LINE_SEARCH)
    return model
