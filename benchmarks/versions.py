"""Are training steps as fast as in another checkout? Steps per second of `program.train`, in turns.

Each round runs either version in a process of its own, which compiles, then times its program several times.

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before [--agent xinet] [--preset quick] [--members 1] [--rounds 3] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

TIMED = """
import json, sys, time
import jax
from xinet_jax.config import make_config
from xinet_jax.training import members, setup

agent, preset, count, steps, repeats = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
config = make_config(agent=agent, preset=preset, seeds=count, devices=1, engine="native")
ready = setup.prepare(config, members.identities(config))
state = ready.program.init(ready.hyper, ready.seeds)
state, _ = ready.program.collect(state, 1000)
first, rates = config.random_steps, []
before = time.perf_counter()
state = jax.block_until_ready(ready.program.train(ready.hyper, state, first, 1, 0)[0])
compile_seconds = time.perf_counter() - before
for _ in range(repeats):
    before = time.perf_counter()
    state = jax.block_until_ready(ready.program.train(ready.hyper, state, first, steps, 0)[0])
    rates.append(steps / (time.perf_counter() - before))
print(json.dumps({"rates": rates, "seconds_to_compile": compile_seconds}))
"""


def timed(checkout: Path, options: argparse.Namespace) -> dict[str, object]:
    """Returns rates of a version and how long its program took to compile, without JAX's cache."""
    arguments = [options.agent, options.preset, str(options.members), str(options.steps), str(options.repeats)]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    result = subprocess.run(
        [sys.executable, "-c", TIMED, *arguments], env=environment, cwd="/", capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(f"{checkout} failed: {result.stderr.strip().splitlines()[-1]}")
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--agent", default="xinet")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="timings of each process")
    parser.add_argument("--steps", type=int, default=600, help="of each timing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    checkouts = {"other": options.other, "this": Path(__file__).parents[1]}
    results = {name: [] for name in checkouts}
    for _ in range(options.rounds):
        for name, checkout in checkouts.items():
            results[name].append(timed(checkout, options))
    medians = {
        name: {
            "steps_per_second": statistics.median(rate for result in several for rate in result["rates"]),
            "seconds_to_compile": statistics.median(result["seconds_to_compile"] for result in several),
        }
        for name, several in results.items()
    }
    medians["ratio"] = medians["this"]["steps_per_second"] / medians["other"]["steps_per_second"]
    if options.json:
        print(json.dumps(medians, allow_nan=False))
        return
    for name in checkouts:
        print("{}: {steps_per_second:.1f} steps/s, {seconds_to_compile:.1f} s to compile".format(name, **medians[name]))
    print(f"this / other: {medians['ratio']:.3f}")


if __name__ == "__main__":
    main()
