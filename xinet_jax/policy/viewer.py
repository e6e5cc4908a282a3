"""A page that shows an episode: Brax's viewer, for any MuJoCo model."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import mujoco

from xinet_jax.errors import UserError, brief
from xinet_jax.tasks.engines.loading import quiet_deprecations


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
      UserError: if Brax is not installed, or cannot show such a model (an ellipsoid, for one).
    """
    try:
        from brax.base import Transform
        from brax.io import html, mjcf
    except ImportError:
        raise UserError("HTML needs the extra 'brax': pip install 'xinet_jax[brax]', or choose a .gif") from None

    from xinet_jax.tasks.engines.mjx import with_newton

    def shown(pose: mujoco.MjData) -> SimpleNamespace:  # the viewer moves each body but the world as a whole
        return SimpleNamespace(x=Transform(pos=pose.xpos[1:].copy(), rot=pose.xquat[1:].copy()))

    with quiet_deprecations(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Brax says of its physics, which is not used, that it is not kept up
        try:
            system = mjcf.load_model(with_newton(model))
            html.render(system, [shown(mujoco.MjData(model))])  # fails before the episode is played, not after
        except Exception as error:  # of whatever kind: it looks shapes up in a table, for one
            what = brief(f"{type(error).__name__}: {error}")
            raise UserError(f"Brax's viewer cannot show this model ({what}): choose a .gif") from None
    system = system.tree_replace({"opt.timestep": 1.0 / per_second})
    states = [shown(pose) for pose in poses]
    out.write_text(html.render(system, states, height="100vh", colab=False))
    return len(states)
