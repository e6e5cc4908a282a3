"""What does a compiled phase of training ask of a GPU? Counted on a machine without one.

XLA can compile for a GPU that is only described. The result cannot run here, but it is what would run there. For each
computation of it this prints the kernels that are launched, how many of them only copy, the predicates that the host
has to read back (branches, and loops whose number of iterations XLA does not know), and the bytes that kernels read and
write at most; for the program, the memory. "step" is one iteration of the innermost loop of a phase: in `train`, one
step of all members in which neither theta nor pruning is due.

    pip install 'xinet_jax[cuda]'
    python benchmarks/gpu_program.py [--phase train] [--preset paper] [--agent xinet] [--engine native] [--json]

With `--engine native`, physics is a call of the host: two kernels here. Autotuning needs a card, so cuBLAS may choose
others on one. With 64 members it takes a minute or two.
"""

import argparse
import collections
import json
import math
import os
import re
import sys
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_autotune_level=0"

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from xinet_jax.agent.replay import rows_for
from xinet_jax.config import make_config
from xinet_jax.training import members, setup
from xinet_jax.training.devices import AXIS, EVERYWHERE, SPREAD
from xinet_jax.training.program import make_program

# An H100 SXM: NVIDIA's data sheet, and the driver's attributes as XLA prints them.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Operations that are a launch each.
KERNELS = ("fusion", "custom-call", "copy", "dot", "reduce", "sort", "scatter", "gather", "concatenate", "transpose")
KERNELS += ("convert", "dynamic-slice", "dynamic-update-slice", "broadcast", "iota", "rng-bit-generator", "pad")
WIDTHS = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}
LARGEST = 20  # passes that are listed
CAPACITY = 100_000  # of each replay


def parse(text):
    """Returns a program's computations, `{name: [(result, type, operation, rest, line)]}`, and its entry's name."""
    computations, name, entry = {}, None, None
    for line in text.splitlines():
        if head := re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$", line):
            name = head[2]
            computations[name] = []
            entry = name if head[1] else entry
        elif line.startswith("}"):
            name = None
        elif name is not None:
            line = re.sub(r"/\*.*?\*/", "", line.strip())
            if match := re.match(r"(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$", line):
                computations[name].append((*match.groups(), line))
    return computations, entry


def size(type_text):
    """Returns the bytes of arrays of an HLO type."""
    arrays = re.findall(r"\b(" + "|".join(WIDTHS) + r")\[([\d,]*)\]", type_text)
    return sum(
        WIDTHS[kind] * math.prod(int(length) for length in lengths.split(",") if length) for kind, lengths in arrays
    )


def operands(rest):
    """Returns the names of an instruction's operands."""
    return re.findall(r"%([\w.\-]+)", rest.split("), ")[0])


def moved_by(computations, type_text, rest, line, sizes):
    """Returns the bytes that a kernel reads and writes at most. Of arrays whose rows it picks or sets, the rows."""
    read = [sizes.get(name, 0) for name in operands(rest)]
    written = size(re.sub(r"\bs8\[[\d,]*\]", "", type_text))  # without the working space of cuBLAS
    called = re.search(r"calls=%?([\w.\-]+)", line)
    if not called:
        return sum(read) + written
    inside = computations[called[1]]
    inner = {result: size(text) for result, text, *_ in inside}
    for parameter, _, operation, index, _ in inside:
        if operation != "parameter":
            continue
        users = [instruction for instruction in inside if parameter in operands(instruction[3])]
        number = int(index.split(")")[0])
        if users and all(
            user[2] in ("gather", "dynamic-slice") and operands(user[3])[0] == parameter for user in users
        ):
            read[number] = sum(inner[user[0]] for user in users)
        for user in users:
            if user[2] in ("scatter", "dynamic-update-slice") and operands(user[3])[0] == parameter:
                update = inner.get(operands(user[3])[2 if user[2] == "scatter" else 1], 0)
                written += update - read[number]
                read[number] = 0
    return sum(read) + written


def count(computations, name, kind="program"):
    """Returns what a computation asks for, and what its loops and branches do, one after the other."""
    operations, moved, sizes, passes, inner, predicates = collections.Counter(), 0, {}, [], [], 0
    for result, type_text, operation, rest, line in computations[name]:
        operations[operation] += 1
        sizes[result] = size(type_text)
        if operation == "while":
            predicates += '"known_trip_count"' not in line
            inner.append(("loop", re.search(r"body=%?([\w.\-]+)", line)[1]))
        elif operation == "conditional":
            predicates += 1
            several = re.search(r"branch_computations=\{([^}]*)\}", line)
            names = several[1].split(",") if several else re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", line)
            inner += [("branch", branch.strip().lstrip("%")) for branch in names]
        elif operation in KERNELS:
            bytes_moved = moved_by(computations, type_text, rest, line, sizes)
            moved += bytes_moved
            label = re.search(r'op_name="([^"]*)"', line)
            passes.append((bytes_moved, operation, label[1][-90:] if label else result))
    return {
        "kind": kind,
        "name": name,
        "kernels": sum(operations[operation] for operation in KERNELS),
        "copies": operations["copy"],
        "predicates": predicates,
        "megabytes": moved / 1e6,
        "passes": [(n / 1e6, operation, label) for n, operation, label in sorted(passes, reverse=True)],
        "inner": [count(computations, inside, kind) for kind, inside in inner],
    }


def step_of(computation):
    """Returns one iteration of a phase: of its largest loop, or of the first loop in that if it has more kernels."""
    loops = [inside for inside in computation["inner"] if inside["kind"] == "loop"]
    largest = max(loops, key=lambda loop: total(loop, "kernels"))
    nested = [inside for inside in largest["inner"] if inside["kind"] == "loop"]
    # A loop of stretches launches next to nothing itself; the first loop in it is that over plain updates.
    return nested[0] if nested and nested[0]["kernels"] > largest["kernels"] else largest


def replay_copies(text, members):
    """Returns how many instructions of the program copy an array that is as long as a replay. It should be none."""
    ring = re.compile(rf"= \S*\[({members},)?({CAPACITY}|{rows_for(CAPACITY)})[,\]].* copy(-start)?\(")
    return sum(bool(ring.search(line)) for line in text.splitlines())


def between_host_calls(computations, entry):
    """Returns how many kernels are launched after the host is asked for physics, and before it is waited for."""
    for instructions in computations.values():
        lines = [(line, operation) for *_, operation, _, line in instructions]
        calls = [i for i, (line, _) in enumerate(lines) if ".in_two." in line and "custom_call_target" in line]
        if len(calls) == 2:
            return sum(operation in KERNELS for _, operation in lines[calls[0] + 1 : calls[1]])
    return 0


def total(computation, figure):
    """Returns a figure of a computation and of all that is inside, as if each ran once."""
    return computation[figure] + sum(total(inside, figure) for inside in computation["inner"])


def show(computation, depth=0):
    words = "{kind} {name}: {kernels} kernels ({copies} copies), {predicates} predicates, {megabytes:,.0f} MB at most"
    print("  " * depth + words.format(**computation))
    for inside in computation["inner"]:
        show(inside, depth + 1)


def lower(options):
    """Returns a phase lowered for an H100."""
    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    sizes = {"steps": CAPACITY, "replay_capacity": CAPACITY, "seeds": options.members, "devices": 1}
    config = make_config(options.task, preset=options.preset, agent=options.agent, engine=options.engine, **sizes)
    ready = setup.prepare(config, members.identities(config))
    mesh = Mesh(np.array(topology.devices[:1]), (AXIS,))
    program = make_program(ready.agent, ready.task, ready.buffer, config.eval_episodes, mesh)

    def described(tree, spec):
        sharding, shapes = NamedSharding(mesh, spec), jax.eval_shape(lambda tree: tree, tree)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)

    hyper, seeds = described(ready.hyper, SPREAD), described(ready.seeds, SPREAD)
    state = described(jax.eval_shape(ready.program.init, ready.hyper, ready.seeds), SPREAD)
    number = described(jnp.int32(0), EVERYWHERE)
    arguments = {
        "train": (hyper, state, number, number, number),
        "pretrain": (hyper, state, number),
        "collect": (state, number),
        "evaluate": (state.agent, seeds),
    }[options.phase]
    return getattr(program, options.phase).lower(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--engine", default="native", choices=("native", "mjx"))
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--agent", default="xinet")
    parser.add_argument("--phase", default="train", choices=("train", "pretrain", "collect", "evaluate"))
    parser.add_argument("--hlo", metavar="FILE", help="where to write the compiled program's text")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        before = time.monotonic()
        compiled = lower(options).compile()
    except RuntimeError as error:
        sys.exit(f"no program for an H100: {error}. It needs pip install 'xinet_jax[cuda]'.")
    seconds, text, memory = time.monotonic() - before, compiled.as_text(), compiled.memory_analysis()
    if options.hlo:
        with open(options.hlo, "w") as file:
            file.write(text)
    program = count(*parse(text))
    step = step_of(program)
    figures = {name: step[name] for name in ("kernels", "copies", "megabytes")}
    # The loop's own condition is read at every iteration; nested loops and branches once at least.
    figures["predicates"] = 1 + total(step, "predicates")
    figures["kernels_inside"] = total(step, "kernels") - step["kernels"]
    figures["kernels_while_the_host_steps"] = between_host_calls(*parse(text))
    figures["copies_of_replay"] = replay_copies(text, options.members)
    figures |= {"state_gigabytes": memory.argument_size_in_bytes / 1e9, "seconds_to_compile": seconds}
    figures |= {"working_gigabytes": memory.temp_size_in_bytes / 1e9, "jax": jax.__version__}
    settings = {name: getattr(options, name) for name in ("task", "engine", "members", "preset", "agent", "phase")}
    if options.json:
        print(json.dumps(settings | {"step": figures, "program": program}, allow_nan=False))
        return
    print(" ".join(f"{name}={value}" for name, value in settings.items()))
    show(program)
    print(
        "a step: "
        + ", ".join(
            f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
        )
    )
    print(f"its {LARGEST} largest passes:")
    for megabytes, operation, label in step["passes"][:LARGEST]:
        print(f"  {megabytes:8,.1f} MB {operation} {label}")


if __name__ == "__main__":
    main()
