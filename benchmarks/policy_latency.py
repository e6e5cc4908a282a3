"""How long does a saved policy take for one observation, in each format, and how large is its file?

The dense policy of the published sizes (8 blocks of 30, actor 256-256) and one that was pruned from it, with the widths
of seed 0 of two runs for HalfCheetah (experiments/claims) and with random weights. Medians of 10,000 calls, which
are made in turns: 500 of each format and policy, then 500 again.

    taskset -c 1 python benchmarks/policy_latency.py [--json]
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import onnxruntime

from xinet_jax.networks import layout
from xinet_jax.policy.export import numpy_policy, to_c
from xinet_jax.policy.export.target import FORMATS, identifier
from xinet_jax.policy.files import expected_arrays
from xinet_jax.policy.forward import act
from xinet_jax.policy.policy import Policy
from xinet_jax.policy.structure import load_structure

CALLS, ROUNDS, WARM_UP = 10_000, 20, 50
RESULTS = Path(__file__).parents[1] / "experiments" / "claims" / "results" / "HalfCheetah-v5"
RUNS = {"dense": "paper-ofenet", "pruned": "paper-xinet"}


def random_policy(folder):
    """Returns a policy of a saved one's structure, with random weights."""
    structure, random = load_structure(folder), np.random.default_rng(0)
    arrays = {}
    for path, leaf in layout.flat(expected_arrays(structure)).items():
        values = random.normal(scale=0.1, size=leaf.shape)
        arrays[path] = 1.0 + np.abs(values) if path[-1] in ("scale", "var") else values
    return Policy(structure, layout.nested({path: array.astype(np.float32) for path, array in arrays.items()}))


def times_of(call):
    """Returns the times of some calls [µs]."""
    times = []
    for _ in range(WARM_UP + CALLS // ROUNDS):
        before = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - before))
    return times[WARM_UP:]


def times_in_c(program):
    """Returns the times of some calls of a header's function, measured in C [µs]."""
    lines = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()
    return [float(line.split()[0]) for line in lines[WARM_UP:]]


def compiled_c(file):
    """Returns a program that prints the time of each call of a header's function, and what depends on the call."""
    name, folder = identifier(file), file.parent
    (folder / "main.c").write_text(f"""#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "{file.name}"
int main(void) {{
  float observation[{name.upper()}_OBSERVATION] = {{0}}, action[{name.upper()}_ACTION];
  for (int k = 0; k < {WARM_UP + CALLS // ROUNDS}; k++) {{
    struct timespec before, after;
    observation[0] = 1e-4f * (float)k;
    clock_gettime(CLOCK_MONOTONIC, &before);
    {name}(observation, action);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%.9g %g\\n", 1e6 * (double)(after.tv_sec - before.tv_sec) + 1e-3 * (double)(after.tv_nsec - before.tv_nsec),
        (double)action[0]);
  }}
}}
""")
    words = [to_c.compiler(), "-std=c99", "-O3", "-march=native", "main.c", "-o", "main", "-lm"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "main"


def prepared(policy, folder):
    """Returns a policy's files by format, and by format what times some calls."""
    files = {f: policy.export(folder / f"cheetah{kind.ending}", f).files[0] for f, kind in FORMATS.items()}
    observation = np.random.default_rng(1).normal(size=policy.structure.observation).astype(np.float32)
    compiled = jax.jit(lambda observation: act(policy.network, observation, jnp))
    exported = jax.jit(jax.export.deserialize(bytearray(files["stablehlo"].read_bytes())).call)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(files["onnx"], options, providers=["CPUExecutionProvider"])
    of_file, _ = numpy_policy.load(files["numpy"])
    program = compiled_c(files["c"])
    return files, {
        "policy": lambda: times_of(lambda: policy(observation)),
        "jax.jit": lambda: times_of(lambda: np.asarray(compiled(observation))),
        "numpy": lambda: times_of(lambda: of_file(observation)),
        "onnx": lambda: times_of(lambda: session.run(None, {"observation": observation[None]})),
        "stablehlo": lambda: times_of(lambda: np.asarray(exported(observation[None]))),
        "c": lambda: times_in_c(program),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    policies = {name: random_policy(RESULTS / run / "policy" / "seed_0") for name, run in RUNS.items()}
    times, sizes = {}, {}
    with contextlib.ExitStack() as stack:
        calls = {}
        for name, policy in policies.items():
            files, timed = prepared(policy, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            sizes |= {(format, name): file.stat().st_size for format, file in files.items()}
            calls |= {(format, name): timer for format, timer in timed.items()}
        for _ in range(ROUNDS):
            for key, timer in calls.items():
                times.setdefault(key, []).extend(timer())
    formats = list(dict.fromkeys(format for format, _ in times))
    rows = {
        format: {
            "microseconds": {name: statistics.median(times[format, name]) for name in policies},
            "bytes": {name: sizes.get((format, name)) for name in policies},
        }
        for format in formats
    }
    parameters = {name: policy.structure.parameters for name, policy in policies.items()}
    if arguments.json:
        print(json.dumps({"parameters": parameters, "formats": rows}, allow_nan=False))
        return
    print(", ".join(f"{name}: {count:,} parameters" for name, count in parameters.items()))
    print("| format | dense [µs] | pruned [µs] | dense [bytes] | pruned [bytes] |\n|---|---|---|---|---|")
    for format, row in rows.items():
        medians = [f"{time:.0f}" for time in row["microseconds"].values()]
        bytes_ = ["–" if size is None else f"{size:,}" for size in row["bytes"].values()]
        print(f"| {format} | {' | '.join(medians + bytes_)} |")


if __name__ == "__main__":
    main()
