"""A page that shows an episode: Brax's viewer, for any MuJoCo model."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import mujoco

from xinet_jax.errors import UserError
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.on_device import with_newton


def write_page(out: Path, model: mujoco.MjModel, poses: Iterable[mujoco.MjData], per_second: float) -> int:
    """Writes a page that shows an episode; opened, it loads the viewer's scripts from the network.

    Args:
      out: the file.
      model: the model.
      poses: what MuJoCo made of each state, `xpos` and `xquat` of the bodies.
      per_second: how many there are per second.

    Returns:
      The number of poses.

    Raises:
      UserError: if Brax is not installed.
    """
    try:
        from brax.base import Transform
        from brax.io import html, mjcf
    except ImportError:
        raise UserError("HTML needs the extra 'brax': pip install 'xinet_jax[brax]', or choose a .gif") from None
    with quiet_deprecations(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Brax says of its physics, which is not used, that it is not kept up
        system = mjcf.load_model(with_newton(model))
    system = system.tree_replace({"opt.timestep": 1.0 / per_second})
    # The viewer moves each body but the world as a whole.
    states = [SimpleNamespace(x=Transform(pos=own.xpos[1:].copy(), rot=own.xquat[1:].copy())) for own in poses]
    out.write_text(html.render(system, states, height="100vh", colab=False))
    return len(states)
