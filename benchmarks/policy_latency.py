"""How long does a saved policy take for one observation, in each format, and how large is its file?

The dense policy of the published sizes (8 blocks of 30, actor 256-256) and one that was pruned from it, with the widths
of seed 0 of two runs for HalfCheetah (experiments/claims) and with random weights. Medians of 10,000 calls.

    taskset -c 1 python benchmarks/policy_latency.py [--json]
"""

import argparse
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

CALLS, WARM_UP = 10_000, 200
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


def median(call):
    """Returns the median time of a call [µs]."""
    times = []
    for _ in range(WARM_UP + CALLS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times[WARM_UP:]) * 1e6


def median_in_c(file, folder):
    """Returns the median time of a call of a header's function, timed in C [µs]."""
    name = identifier(file)
    (folder / "main.c").write_text(f"""#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "{file.name}"
int main(void) {{
  float observation[{name.upper()}_OBSERVATION] = {{0}}, action[{name.upper()}_ACTION];
  for (int k = 0; k < {WARM_UP + CALLS}; k++) {{
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
    subprocess.run([to_c.compiler(), "-O3", "-march=native", "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    lines = subprocess.run([str(folder / "main")], check=True, capture_output=True, text=True).stdout.splitlines()
    return statistics.median(float(line.split()[0]) for line in lines[WARM_UP:])


def measured(policy, folder):
    """Returns times and sizes by format, `{format: (µs, bytes)}`."""
    files = {f: policy.export(folder / f"cheetah{kind.ending}", f).files[0] for f, kind in FORMATS.items()}
    observation = np.random.default_rng(1).normal(size=policy.structure.observation).astype(np.float32)
    rows = observation[None]

    compiled = jax.jit(lambda observation: act(policy.network, observation, jnp))
    exported = jax.jit(jax.export.deserialize(bytearray(files["stablehlo"].read_bytes())).call)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(files["onnx"], options, providers=["CPUExecutionProvider"])
    of_file, _ = numpy_policy.load(files["numpy"])

    times = {
        "jax.jit": median(lambda: np.asarray(compiled(observation))),
        "policy": median(lambda: policy(observation)),
        "numpy": median(lambda: of_file(observation)),
        "onnx": median(lambda: session.run(None, {"observation": rows})),
        "stablehlo": median(lambda: np.asarray(exported(rows))),
        "c": median_in_c(files["c"], folder),
    }
    return {name: (time, files[name].stat().st_size if name in files else None) for name, time in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results, parameters = {}, {}
    for name, run in RUNS.items():
        policy = random_policy(RESULTS / run / "policy" / "seed_0")
        parameters[name] = policy.structure.parameters
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measured(policy, Path(folder))
    if arguments.json:
        print(json.dumps({"parameters": parameters, "results": results}, allow_nan=False))
        return
    print(", ".join(f"{name}: {count:,} parameters" for name, count in parameters.items()))
    print("| format | dense [µs] | pruned [µs] | dense [bytes] | pruned [bytes] |\n|---|---|---|---|---|")
    for name in results["dense"]:
        times = " | ".join(f"{results[policy][name][0]:.1f}" for policy in RUNS)
        sizes = " | ".join(f"{results[policy][name][1] or 0:,}" for policy in RUNS)
        print(f"| {name} | {times} | {sizes} |")


if __name__ == "__main__":
    main()
