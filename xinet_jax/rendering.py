"""Films a saved policy: MuJoCo's own renderer, off screen."""

import copy
import importlib.util
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import mujoco
import numpy as np
from jaxtyping import UInt8
from mujoco.rendering.classic import gl_context
from PIL import Image

from xinet_jax.errors import UserError
from xinet_jax.policy import Policy
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import exact_engine, load_task
from xinet_jax.tasks.task import Task
from xinet_jax.telemetry.progress import counted
from xinet_jax.viewer import write_page

FORMATS = (".gif", ".mp4", ".html")
_MOST_PER_SECOND = 50  # frames; GIFs are shown no faster


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
    width, height = 480 if width is None else width, 360 if height is None else height
    if not 16 <= width <= 4096 or not 16 <= height <= 4096:
        raise UserError(f"width and height must be from 16 to 4096 pixels, not {width} and {height}")
    if seconds is not None and not seconds > 0:
        raise UserError(f"seconds must be above 0, not {seconds}")
    if out.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {out}: it is a folder, or its own folder is not there or may not be written to")
    if kind == ".mp4" and not importlib.util.find_spec("imageio_ffmpeg"):
        raise UserError("MP4 needs the extra 'video': pip install 'xinet_jax[video]', or choose a .gif")
    structure = policy.structure
    task = load_task(structure.task, exact_engine(structure.task), **structure.task_options)
    every = max(1, round(1.0 / (_MOST_PER_SECOND * task.dt)))
    per_second = 1.0 / (every * task.dt)
    poses = _play(policy, task, seed, seconds, every, progress)
    aside = out.with_name(f".{out.stem}.new{kind}")  # a film that fails leaves one that was there as it was
    try:
        if kind == ".html":
            count = write_page(aside, task.model, poses, per_second)
        elif kind == ".gif":
            count = _write_gif(aside, _draw(task.model, poses, width, height), per_second)
        else:
            count = _write_mp4(aside, _draw(task.model, poses, width, height), per_second)
        aside.replace(out)
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot write {out}: {reason}") from None
    finally:
        aside.unlink(missing_ok=True)
    return count


def _play(
    act: Callable[[np.ndarray], np.ndarray],
    task: Task,
    seed: int,
    seconds: float | None,
    every: int,
    progress: bool,
) -> Iterator[mujoco.MjData]:
    """Yields what MuJoCo makes of the states of an episode, once every so many control steps."""
    length = task.definition.episode_length
    most = length if seconds is None else min(length, max(1, round(seconds / task.dt)))
    step = jax.jit(lambda state, action: tasks.step(task, state, action))
    data = mujoco.MjData(task.model)
    state = jax.jit(lambda key: tasks.reset(task, key))(jax.random.PRNGKey(seed))
    for elapsed in counted(most, "filming", progress):
        if elapsed % every == 0:
            data.qpos[:], data.qvel[:] = state.physics.qpos, state.physics.qvel
            if task.model.nmocap:
                data.mocap_pos[:] = state.physics.mocap_pos
            mujoco.mj_forward(task.model, data)
            yield data
        action = tasks.to_action(task, act(np.asarray(state.observation)))
        state, outcome = step(state, action)
        if outcome.ended:
            break


def _draw(
    model: mujoco.MjModel, poses: Iterable[mujoco.MjData], width: int, height: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    model = copy.copy(model)
    model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 640), max(height, 480)
    camera = _camera(model)
    with _renderer(model, width, height) as renderer:
        for data in poses:
            renderer.update_scene(data, camera)
            yield renderer.render().copy()


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
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        chosen = os.environ.get("MUJOCO_GL")
        hint = "choose another MUJOCO_GL" if chosen else "install a driver with EGL, or OSMesa and set MUJOCO_GL=osmesa"
        raise UserError(f"nothing can be drawn by {chosen or 'EGL'} here ({reason}): {hint}") from None


def _write_gif(out: Path, frames: Iterable[np.ndarray], per_second: float) -> int:
    first, *rest = map(Image.fromarray, frames)
    first.save(out, save_all=True, append_images=rest, duration=round(1000 / per_second), loop=0)
    return 1 + len(rest)


def _write_mp4(out: Path, frames: Iterator[np.ndarray], per_second: float) -> int:
    import imageio_ffmpeg

    first = next(frames)  # before anything is written: nothing may be drawn here
    height, width, _ = first.shape
    writer = imageio_ffmpeg.write_frames(str(out), (width, height), fps=per_second, macro_block_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # JAX warns of forks; this one becomes another program at once
        writer.send(None)
    count = 0
    try:
        for frame in itertools.chain([first], frames):
            writer.send(np.ascontiguousarray(frame))
            count += 1
    finally:
        writer.close()
    return count
