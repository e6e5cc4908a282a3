"""Films a saved policy: MuJoCo's own renderer, off screen; the environment's own for tasks gymnasium/NAME."""

import contextlib
import copy
import importlib.util
import itertools
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import mujoco
import numpy as np
from jaxtyping import UInt8
from mujoco.rendering.classic import gl_context
from PIL import Image

from xinet_jax.atomic import replacing
from xinet_jax.compat.jax import in_float32
from xinet_jax.errors import UserError, brief, first_line
from xinet_jax.policy.policy import Policy
from xinet_jax.policy.viewer import write_page
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.libraries.environments import in_one_line, make_environment, seconds_per_step
from xinet_jax.tasks.registry import exact_engine, gymnasium_name, load_task
from xinet_jax.tasks.task import Task
from xinet_jax.telemetry.progress import counted

FORMATS = (".gif", ".mp4", ".html")
_SHORTEST = 0.02  # time that a frame is shown [s]: 50 frames per second, since GIFs are shown no faster
_TICK = 0.01  # what the times of a GIF are whole multiples of [s]


def interval(control_step: float) -> int:
    """Returns the control steps from one frame of a film to the next: the fewest that take a fiftieth of a second.

    Args:
      control_step: its duration [s].
    """
    return max(1, math.ceil(_SHORTEST / control_step - 1e-6))


def gif_delays(control_step: float, steps: int) -> list[int]:
    """Returns how long a GIF shows each frame, so that frames change when the episode does, to the nearest tick.

    Frames are `interval` control steps apart, the first at the episode's start. The last is shown for what is left of
    the episode, and left out where that is less than a GIF can show. One frame there always is, for 0.02 s or more.

    Args:
      control_step: its duration [s].
      steps: the control steps that are filmed, one or more.

    Returns:
      One whole multiple of 10 per frame [ms], `[frames]`. Their sum is the episode's duration, to the nearest tick.
    """
    changes = (*range(0, steps, interval(control_step)), steps)
    ticks = [math.floor(step * control_step / _TICK + 0.5) for step in changes]
    least = round(_SHORTEST / _TICK)
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < least:
        del ticks[-2]
    return [max(least, after - before) * round(1000 * _TICK) for before, after in itertools.pairwise(ticks)]


@in_float32
def render(
    policy: Policy,
    out: Path | str,
    seed: int = 0,
    seconds: float | None = None,
    width: int | None = None,
    height: int | None = None,
    progress: bool = False,
) -> int:
    """Films one episode of the deterministic policy, in real time, in MuJoCo's C engine where it has the task.

    Args:
      policy: the policy.
      out: the file to write; its ending says of what kind: .gif, .mp4 (needs the extra `video`), or .html (Brax's
        viewer, which loads its scripts from the network when the page is opened; needs the extra `brax`).
      seed: of the episode's first state.
      seconds: how much of the episode to film at most [s]; all of it if None.
      width, height: of the picture [pixels]; 480 and 360 if None. A page has no size of its own.
      progress: whether to show a bar on standard error.

    Returns:
      The number of frames.

    Raises:
      UserError: for another kind of file, or if nothing can be drawn or written here.
    """
    out = Path(out)
    kind = out.suffix.lower()
    if kind not in FORMATS:
        raise UserError(f"--out must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not '{out.suffix}'")
    if kind == ".html" and (width, height) != (None, None):
        raise UserError("width and height are for pictures: a page fills its window")
    if gymnasium_name(policy.structure.task) != policy.structure.task:
        if kind == ".html":
            raise UserError(
                f"{policy.structure.task} has no MuJoCo model that a page could show: choose another ending"
            )
        if (width, height) != (None, None):
            raise UserError(f"{policy.structure.task} draws pictures of its own size: leave width and height out")
    width, height = 480 if width is None else width, 360 if height is None else height
    if not 16 <= width <= 4096 or not 16 <= height <= 4096:
        raise UserError(f"width and height must be from 16 to 4096 pixels, not {width} and {height}")
    if seconds is not None and not seconds > 0:
        raise UserError(f"seconds must be above 0, not {seconds}")
    if not 0 <= seed < 2**31:
        raise UserError(f"seed must be from 0 to {2**31 - 1}, not {brief(seed)}")
    if out.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {out}: it is a folder, or its own folder is not there or may not be written to")
    if kind == ".mp4" and not importlib.util.find_spec("imageio_ffmpeg"):
        raise UserError("MP4 needs the extra 'video': pip install 'xinet_jax[video]', or choose a .gif")
    structure = policy.structure
    name = gymnasium_name(structure.task)
    try:
        with replacing(out, out.with_name(f".{out.stem}.new{kind}")) as aside:
            if name != structure.task:
                frames, dt = _draw_registered(policy, name, structure.task_options, seed, seconds, progress)
            else:
                task = load_task(structure.task, exact_engine(structure.task), **structure.task_options)
                dt = task.dt
                poses = _play(policy, task, seed, seconds, interval(dt), progress)
                if kind == ".html":
                    return write_page(aside, task.model, (pose for pose, _ in poses), 1.0 / (interval(dt) * dt))
                frames = _draw(task.model, poses, width, height)
            if kind == ".gif":
                return _write_gif(aside, frames, dt)
            return _write_mp4(aside, frames, 1.0 / (interval(dt) * dt))
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or first_line(error)}") from None


def _play(
    act: Callable[[np.ndarray], np.ndarray],
    task: Task,
    seed: int,
    seconds: float | None,
    steps_per_frame: int,
    progress: bool,
) -> Iterator[tuple[mujoco.MjData, int]]:
    """Yields what MuJoCo makes of a state, once every so many control steps, and the control steps until the next.

    After the last these can be fewer: the episode may end, or the film.
    """
    length = task.definition.episode_length
    most = length if seconds is None else max(1, round(min(length, seconds / task.dt)))
    step = jax.jit(lambda state, action: tasks.step(task, state, action))
    data = mujoco.MjData(task.model)
    state = jax.jit(lambda key: tasks.reset(task, key))(jax.random.PRNGKey(seed))
    since = 0
    for _ in counted(most, "filming", progress):
        if since == steps_per_frame:
            yield data, since
            since = 0
        if since == 0:
            data.qpos[:], data.qvel[:] = state.physics.qpos, state.physics.qvel
            if task.model.nmocap:
                data.mocap_pos[:] = state.physics.mocap_pos
            mujoco.mj_forward(task.model, data)
        action = tasks.to_action(task, act(np.asarray(state.observation)))
        state, outcome = step(state, action)
        since += 1
        if outcome.ended:
            break
    yield data, since


def _draw_registered(
    policy: Policy, name: str, options: dict[str, Any], seed: int, seconds: float | None, progress: bool
) -> tuple[Iterator[tuple[UInt8[np.ndarray, "height width 3"], int]], float]:
    """Films an episode of an environment of Gymnasium's registry by its own pictures.

    Args:
      policy: the policy.
      name, options: the environment.
      seed, seconds, progress: see `render`.

    Returns:
      A picture every so many steps, with the steps until the next; and how long a step is shown [s].

    Raises:
      UserError: if it cannot be made, or has no pictures.
    """
    with contextlib.closing(make_environment(name, options)) as environment:
        modes = environment.metadata.get("render_modes", ())
    if "rgb_array" not in modes:
        raise UserError(f"gymnasium/{name} cannot be drawn: it has no render mode rgb_array")
    environment = make_environment(name, options, "rgb_array")
    dt, length = seconds_per_step(environment), environment.spec.max_episode_steps
    most = length if seconds is None else max(1, round(min(length, seconds / dt)))
    return _pictures(policy, environment, seed, most, interval(dt), in_one_line(name, options), progress), dt


def _pictures(
    act: Callable[[np.ndarray], np.ndarray],
    environment: gymnasium.Env,
    seed: int,
    most: int,
    steps_per_frame: int,
    mistakes: contextlib.AbstractContextManager,
    progress: bool,
) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], int]]:
    with mistakes, contextlib.closing(environment):
        observation, _ = environment.reset(seed=seed)
        picture, since = np.asarray(environment.render()), 0
        for _ in counted(most, "filming", progress):
            if since == steps_per_frame:
                yield picture, since
                picture, since = np.asarray(environment.render()), 0
            observation, _, terminated, truncated, _ = environment.step(act(observation))
            since += 1
            if terminated or truncated:
                break
        yield picture, since


def _draw(
    model: mujoco.MjModel, poses: Iterable[tuple[mujoco.MjData, int]], width: int, height: int
) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], int]]:
    """Yields a picture of each pose, and the control steps until the next."""
    model = copy.copy(model)
    model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 640), max(height, 480)
    camera = _camera(model)
    with _renderer(model, width, height) as renderer:
        for data, steps in poses:
            renderer.update_scene(data, camera)
            yield renderer.render().copy(), steps


def _camera(model: mujoco.MjModel) -> str | mujoco.MjvCamera:
    """Returns the model's own camera that follows the robot, or one that sees all of it."""
    if "track" in [model.camera(index).name for index in range(model.ncam)]:
        return "track"
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    return camera


def _renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """Returns a renderer that needs no screen: EGL's, unless MUJOCO_GL says otherwise."""
    try:
        if not os.environ.get("MUJOCO_GL"):  # MuJoCo, which read it when it was imported, would want a screen
            from mujoco.egl import GLContext

            gl_context.GLContext = GLContext
        return mujoco.Renderer(model, height, width)
    except Exception as error:  # each back end fails in its own way
        chosen = os.environ.get("MUJOCO_GL")
        hint = "choose another MUJOCO_GL" if chosen else "install a driver with EGL, or OSMesa and set MUJOCO_GL=osmesa"
        raise UserError(f"nothing can be drawn by {chosen or 'EGL'} here ({first_line(error)}): {hint}") from None


def _write_gif(out: Path, frames: Iterable[tuple[np.ndarray, int]], control_step: float) -> int:
    pictures, steps = zip(*((Image.fromarray(frame), steps) for frame, steps in frames), strict=True)
    delays = gif_delays(control_step, sum(steps))
    first, *rest = pictures[: len(delays)]
    first.save(out, save_all=True, append_images=rest, duration=delays, loop=0)
    return len(delays)


def _write_mp4(out: Path, frames: Iterator[tuple[np.ndarray, int]], per_second: float) -> int:
    import imageio_ffmpeg

    first, _ = next(frames)  # before anything is written: nothing may be drawn here
    height, width, _ = first.shape
    writer = imageio_ffmpeg.write_frames(str(out), (width, height), fps=per_second, macro_block_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # JAX warns of forks; this one becomes another program at once
        writer.send(None)
    count = 0
    try:
        for frame in itertools.chain([first], (frame for frame, _ in frames)):
            writer.send(np.ascontiguousarray(frame))
            count += 1
    finally:
        writer.close()
    return count
