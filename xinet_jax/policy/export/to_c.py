"""A policy as a header in C99, with its weights in it. It allocates nothing and needs only `tanhf`."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from xinet_jax.errors import UserError, first_line
from xinet_jax.policy.forward import Layer, Network

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
_ACTIVATIONS = {"swish": "0.5f * y * (1.0f + tanhf(0.5f * y))", "relu": "y > 0.0f ? y : 0.0f", "tanh": "tanhf(y)"}


def encode(network: Network, about: dict[str, str], name: str) -> tuple[bytes]:
    """Returns a header with one function, `void name(const float observation[], float action[])`.

    Args:
      network: the policy.
      about: what it is, for the comment at the top.
      name: the function's name.
    """
    observation, action, macro = network.observation, network.action, name.upper()
    widest = max(layer.kernel.shape[0] + layer.kernel.shape[1] * layer.appends for layer in network.layers)
    layers = "".join(_code(k, layer) for k, layer in enumerate(network.layers))
    text = f"""/* A policy of xinet_jax.
{"".join(f"   {key}: {_comment(value)}" + chr(10) for key, value in about.items())}
   {name}(observation, action) computes the action for one observation, both in the order and the
   units of the task. It allocates nothing and keeps no state. Link with -lm. */
#ifndef {macro}_H
#define {macro}_H

#include <math.h>

#define {macro}_OBSERVATION {observation}
#define {macro}_ACTION {action}

static inline void {name}(const float observation[{macro}_OBSERVATION],
    float action[{macro}_ACTION]) {{
{_array("scale", network.scale)}{_array("offset", network.offset)}{_weights(network)}
  float x[{widest}], outputs[{max(layer.kernel.shape[1] for layer in network.layers)}];
  int i, j;
  for (i = 0; i < {observation}; i++) x[i] = observation[i];
{layers}
  for (j = 0; j < {action}; j++) action[j] = offset[j] + scale[j] * x[j];
}}

#endif
"""
    return (text.encode(),)


def compiler() -> str | None:
    """Returns the path of the C compiler: $CC, or else cc, gcc or clang; None if there is none."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))), None)


def run(content: bytes, observations: Float[np.ndarray, "rows observation"]) -> Float[np.ndarray, "rows action"] | None:
    """Returns the actions of a header, compiled into a program that reads observations; None without a compiler.

    Raises:
      UserError: if it does not compile, or the program fails.
    """
    program = compiler()
    if program is None:
        return None
    name = re.search(rb"static inline void (\w+)", content)[1].decode()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.h").write_bytes(content)
        (Path(folder) / "main.c").write_text(_MAIN.replace("NAME", name).replace("MACRO", name.upper()))
        try:
            words = [program, *WARNINGS, "-O2", "main.c", "-o", "main", "-lm"]
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
            words = [str(Path(folder) / "main")]
            done = subprocess.run(words, input=observations.tobytes(), check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"").decode(errors="replace").strip()
            raise UserError(
                f"the exported policy cannot be checked with {program}: {said[:200] or first_line(error)}"
            ) from None
    return np.frombuffer(done.stdout, np.float32).reshape(len(observations), -1)


_MAIN = """#include <stdio.h>
#include "policy.h"

int main(void) {
  float observation[MACRO_OBSERVATION], action[MACRO_ACTION];
  while (fread(observation, sizeof observation, 1, stdin) == 1) {
    NAME(observation, action);
    if (fwrite(action, sizeof action, 1, stdout) != 1) return 1;
  }
  return 0;
}
"""


def _code(k: int, layer: Layer) -> str:
    """Returns the statements of a layer, from `x` to `x`. The inner loop runs along rows, which compilers vectorise."""
    inputs, units = layer.kernel.shape
    place = f"x[{inputs} + j]" if layer.appends else "x[j]"
    return f"""
  /* {layer.name}: {layer.activation}, from {inputs} to {units}{", behind its input" if layer.appends else ""} */
  for (j = 0; j < {units}; j++) outputs[j] = bias_{k}[j];
  for (i = 0; i < {inputs}; i++) {{
    const float input = x[i];
    for (j = 0; j < {units}; j++) outputs[j] += input * kernel_{k}[i][j];
  }}
  for (j = 0; j < {units}; j++) {{
    const float y = outputs[j];
    {place} = {_ACTIVATIONS[layer.activation]};
  }}
"""


def _weights(network: Network) -> str:
    return "".join(
        _array(f"kernel_{k}", layer.kernel) + _array(f"bias_{k}", layer.bias) for k, layer in enumerate(network.layers)
    )


def _array(name: str, values: Float[np.ndarray, "..."]) -> str:
    sizes = "".join(f"[{size}]" for size in values.shape)
    rows = [", ".join(map(_number, row)) for row in np.atleast_2d(values)]
    body = ",\n".join(f"    {{{row}}}" for row in rows) if values.ndim == 2 else f"    {rows[0]}"
    return f"  static const float {name}{sizes} = {{\n{body}\n  }};\n"


def _number(value: np.float32) -> str:
    """Returns a number such that C reads the same one."""
    text = f"{value:.9g}"
    return f"{text}f" if {"e", "."} & set(text) else f"{text}.0f"


def _comment(text: str) -> str:
    """Returns text that cannot end a comment."""
    return re.sub(r"[^A-Za-z0-9_./+ -]", "_", text)
