"""Environments for tests, registered with Gymnasium when this file is run or imported."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Counter(gymnasium.Env):
    """Counts its steps, in a dictionary of floats and whole numbers. Even episodes terminate, odd ones are cut off.

    Args:
      length: steps of the first episode; the next one has one more, and so on.
      raises_at: the number of the step, over all episodes, that raises an exception.
      nan_at: the number of the step that gives an observation that is not finite.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "count": spaces.Box(0, 1_000_000, (1,), np.int64),
            "position": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
        }
    )
    action_space = spaces.Box(np.float64([-1.0, 0.0]), np.float64([3.0, 0.5]), dtype=np.float64)

    def __init__(
        self,
        length: int = 5,
        raises_at: int | None = None,
        nan_at: int | None = None,
        render_mode: str | None = None,
    ):
        self.length, self.raises_at, self.nan_at, self.render_mode = length, raises_at, nan_at, render_mode
        self.episode, self.total = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.count = (0 if seed is not None else self.episode + 1), 0
        self.position = self.np_random.normal(size=(2, 2))
        return self._observation(), {}

    def step(self, action):
        assert action.dtype == np.float64
        assert self.action_space.contains(action), action
        self.count, self.total = self.count + 1, self.total + 1
        if self.total == self.raises_at:
            raise ValueError("the arm fell off\nand rolled away")
        self.position = self.position + 0.01 * action.sum()
        observation = self._observation()
        if self.total == self.nan_at:
            observation["position"][0, 0] = np.nan
        ended = self.count >= self.length + self.episode
        even = self.episode % 2 == 0
        return observation, float(action[0]), ended and even, ended and not even, {}

    def render(self):
        return np.full((32, 48, 3), min(255, 5 * self.count), np.uint8)

    def _observation(self):
        return {"count": np.array([self.count]), "position": self.position.copy()}


class Space(gymnasium.Env):
    """An environment of some spaces, which cannot be stepped."""

    def __init__(self, observation=None, action=None):
        box = spaces.Box(-1.0, 1.0, (2,))
        self.observation_space, self.action_space = observation or box, action or box


SPACES = {
    "picture": {"observation": spaces.Box(0, 255, (64, 64, 3), np.uint8)},
    "names": {"observation": spaces.Dict({"x": spaces.Box(-1.0, 1.0, (2,)), "name": spaces.Text(3)})},
    "discrete": {"action": spaces.Discrete(4)},
    "whole": {"action": spaces.Box(0, 4, (1,), np.int64)},
    "unbounded": {"action": spaces.Box(-np.inf, np.inf, (1,))},
}

if "XinetCounter-v0" not in gymnasium.registry:
    gymnasium.register("XinetCounter-v0", Counter, max_episode_steps=100)
    gymnasium.register("XinetEndless-v0", Counter)
    gymnasium.register("XinetMissing-v0", "xinet_missing_module:Environment", max_episode_steps=100)
    for name, kinds in SPACES.items():
        gymnasium.register(f"XinetSpace{name.capitalize()}-v0", Space, kwargs=kinds, max_episode_steps=100)
