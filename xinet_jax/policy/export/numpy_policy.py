"""Runs a policy that `xinet export --format numpy` wrote. Needs NumPy alone; copy this file wherever it is of use."""

import json

import numpy as np


def load(file):
    """Returns `policy(observation) -> action`, and what the policy is (task, agent, seed, ...) as a dictionary.

    An observation is `[observation]`, or a batch `[batch, observation]`, in the order and the units of the task.
    """
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    layers = [
        (arrays[f"kernel_{k}"], arrays[f"bias_{k}"], activation, arrays["appends"][k])
        for k, activation in enumerate(arrays["activations"].tolist())
    ]

    def policy(observation):
        x = np.asarray(observation, np.float32)
        for kernel, bias, activation, append in layers:
            y = ACTIVATIONS[activation](x @ kernel + bias)
            x = np.concatenate([x, y], axis=-1) if append else y
        return arrays["offset"] + arrays["scale"] * x

    return policy, json.loads(arrays["about"].item())


ACTIVATIONS = {
    "swish": lambda x: 0.5 * x * (1.0 + np.tanh(0.5 * x)),  # x * sigmoid(x)
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}
