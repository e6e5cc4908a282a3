"""What do 8-bit integers do to a saved policy: to its file, its time, its actions and its returns?

ONNX Runtime's quantisation: `dynamic` has weights in int8 and finds the ranges of activations at every call; `static`
takes these from observations of two other episodes; `static 16` has activations of 16 bits. Returns are of episodes in
Gymnasium with reset seeds from 0, times are medians of 10,000 calls for one observation.

    taskset -c 1 python benchmarks/policy_int8.py POLICY [--episodes 50] [--json]
"""

import argparse
import contextlib
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import gymnasium
import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

import xinet_jax

CALLS, OTHER_SEED = 10_000, 1_000_000


class Rows(CalibrationDataReader):
    """Gives observations one by one, as ONNX Runtime asks for them."""

    def __init__(self, rows):
        self.rows = iter(rows)

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"observation": row[None]}


def quantised(file, rows):
    """Returns the files of a model and of its quantised versions, by name."""
    eight = {"weight_type": QuantType.QInt8, "per_channel": True}
    files = {name: file.with_name(f"{name}.onnx") for name in ("dynamic", "static", "static 16")}
    quantize_dynamic(file, files["dynamic"], **eight)
    quantize_static(file, files["static"], Rows(rows), **eight)
    quantize_static(file, files["static 16"], Rows(rows), activation_type=QuantType.QUInt16, **eight)
    return {"float32": file} | files


def played(act, structure, seeds):
    """Returns the returns of episodes, and every observation."""
    returns, rows = [], []
    with contextlib.closing(gymnasium.make(structure.task, **structure.task_options)) as environment:
        for seed in seeds:
            observation, _ = environment.reset(seed=seed)
            total, ended = 0.0, False
            while not ended:
                rows.append(observation.astype(np.float32))
                observation, reward, terminated, truncated, _ = environment.step(act(rows[-1]))
                total, ended = total + float(reward), terminated or truncated
            returns.append(total)
    return np.array(returns), np.stack(rows)


def measured(file, policy, rows, seeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def act(observation):
        return session.run(None, {"observation": observation[None]})[0][0]

    times = []
    for call in range(CALLS):
        before = time.perf_counter()
        act(rows[call % len(rows)])
        times.append(time.perf_counter() - before)
    returns, _ = played(act, policy.structure, seeds)
    return {
        "bytes": file.stat().st_size,
        "microseconds": statistics.median(times) * 1e6,
        "difference": float(np.abs(session.run(None, {"observation": rows})[0] - policy(rows)).mean()),
        "mean": float(returns.mean()),
        "standard_error": float(returns.std(ddof=1) / len(returns) ** 0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", help="a policy/seed_N folder")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # ONNX Runtime would advise to prepare the model, which changes nothing here
    policy = xinet_jax.load_policy(arguments.policy)
    _, rows = played(policy, policy.structure, range(OTHER_SEED, OTHER_SEED + 2))
    with tempfile.TemporaryDirectory() as folder:
        files = quantised(policy.export(Path(folder) / "policy.onnx").files[0], rows[::4])
        results = {name: measured(file, policy, rows, range(arguments.episodes)) for name, file in files.items()}
    if arguments.json:
        print(json.dumps(results, allow_nan=False))
        return
    print("| weights, activations | bytes | µs | mean difference of actions | return |\n|---|---|---|---|---|")
    for name, row in results.items():
        value = f"{row['mean']:.0f} ± {row['standard_error']:.0f}"
        print(f"| {name} | {row['bytes']:,} | {row['microseconds']:.0f} | {row['difference']:.1g} | {value} |")


if __name__ == "__main__":
    main()
