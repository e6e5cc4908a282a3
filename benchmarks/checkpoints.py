"""What do checkpoints cost at full size? How long one holds training up, how long it takes to write, and its size.

The state is a run's own at its end: the networks dense, the replay full. `held up` is the copy to the host and the
checksums; the rest is written beside training. `share` is the time held up, of the time in which as many steps are
taken as lie between two checkpoints at the preset's cadence, at the update rate that is measured in the same run.

    python benchmarks/checkpoints.py [--preset quick] [--seeds 1] [--json]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from xinet_jax.config import make_config
from xinet_jax.training import members
from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.setup import prepare
from xinet_jax.training.snapshot import snapshot

UPDATES, REPEATS = 200, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick", help="quick or paper")
    parser.add_argument("--seeds", type=int, default=1, help="members")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    config = make_config(preset=arguments.preset, seeds=arguments.seeds, devices=1)
    setup = prepare(config, members.identities(config))
    state = setup.program.init(setup.hyper, setup.seeds)
    state, _ = setup.program.collect(state, config.random_steps)
    state, _ = setup.program.train(setup.hyper, state, config.random_steps, 1, 0)
    before = time.perf_counter()
    state, tally = setup.program.train(setup.hyper, state, config.random_steps + 1, UPDATES, 1)
    jax.block_until_ready(tally)
    seconds_per_step = (time.perf_counter() - before) / UPDATES
    # Full of what is as hard to compress as observations are.
    noise = np.random.default_rng(0)
    random = {
        name: noise.standard_normal(getattr(state.replay, name).shape, np.float32)
        for name in ("observation", "action", "reward")
    }
    count = np.full(arguments.seeds, setup.buffer.rows, np.int32)
    state = state._replace(replay=state.replay._replace(stored=count, head=count, **random))

    held_up, written, size = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), 2, print)
        for step in range(REPEATS):
            before = time.perf_counter()
            host = snapshot(state, arguments.seeds, setup.buffer.capacity)
            checkpoints.save(step, host, {}, None)
            held_up.append(time.perf_counter() - before)
            checkpoints.wait()
            written.append(time.perf_counter() - before)
            size = sum(file.stat().st_size for file in (Path(folder) / str(step)).rglob("*") if file.is_file())
        checkpoints.close()
    result = {
        "preset": arguments.preset,
        "seeds": arguments.seeds,
        "steps_per_second": 1.0 / seconds_per_step,
        "megabytes": size / 1e6,
        "held_up_seconds": float(np.median(held_up)),
        "written_seconds": float(np.median(written)),
        "share": float(np.median(held_up)) / (config.checkpoint_every * seconds_per_step),
        "share_if_writing_took_a_core": float(np.median(written)) / (config.checkpoint_every * seconds_per_step),
    }
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    print(
        f"{arguments.preset}, {arguments.seeds} seed(s): {result['steps_per_second']:.0f} steps/s, "
        f"{result['megabytes']:.0f} MB"
    )
    print(f"held up {result['held_up_seconds']:.2f} s: {result['share']:.2%} of {config.checkpoint_every:,} steps")
    print(
        f"written in {result['written_seconds']:.2f} s: {result['share_if_writing_took_a_core']:.2%}, "
        "if nothing overlaps"
    )


if __name__ == "__main__":
    main()
