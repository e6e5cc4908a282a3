"""An environment of your own: keep a room warm. Any environment that Gymnasium knows is a task.

xinet train --import examples/thermostat.py --task gymnasium/Thermostat-v0 --agent sac --random-steps 500 --steps 5000
"""

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Thermostat(gymnasium.Env):
    """A room that loses heat. The action is the heating power; the weather changes."""

    observation_space = Box(-50.0, 50.0, (3,), np.float32)  # inside, outside, wanted [degrees Celsius]
    action_space = Box(0.0, 3.0, (1,), np.float32)  # power [kW]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.inside, self.outside = self.np_random.uniform(10.0, 25.0), self.np_random.uniform(-5.0, 15.0)
        self.wanted = self.np_random.uniform(18.0, 22.0)
        return self.observation(), {}

    def step(self, action):
        power = float(action[0])
        self.outside += 0.2 * self.np_random.standard_normal()
        self.inside += 0.1 * (self.outside - self.inside) + power
        reward = -abs(self.inside - self.wanted) - 0.1 * power
        return self.observation(), reward, False, False, {}

    def observation(self):
        return np.array([self.inside, self.outside, self.wanted], np.float32)


gymnasium.register("Thermostat-v0", Thermostat, max_episode_steps=100)
