"""`xinet evaluate`: runs saved policies."""

import json
import signal
import sys

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import EvaluateArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import start_jax
from xinet_jax.errors import UserError
from xinet_jax.telemetry.json_lines import finite


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(EvaluateArguments, arguments, "xinet evaluate")
    if options.episodes < 1:
        raise UserError(f"episodes must be at least 1, not {options.episodes}")
    if options.seed < 0:
        raise UserError(f"seed must be 0 or more, not {options.seed}")
    start_jax()
    from xinet_jax.policy.evaluation import evaluate_until_interrupted
    from xinet_jax.policy.files import find_policies, load_policy
    from xinet_jax.policy.tables import evaluations_table

    policies = [(folder, load_policy(folder)) for folder in find_policies(options.path)]
    summaries, evaluated, interrupted, finished = [], [], False, 0
    for folder, policy in policies:
        returns, interrupted = evaluate_until_interrupted(policy, options.episodes, options.seed, progress=True)
        finished += len(returns)
        if not len(returns):
            break
        evaluated.append((policy.structure, returns))
        summaries.append(
            {
                "policy": str(folder),
                "task": policy.structure.task,
                "nu": policy.structure.nu,
                "settings": policy.structure.settings,
                "seed": policy.structure.seed,
                "parameters": policy.structure.parameters,
                "episodes": len(returns),
                "mean": float(returns.mean()),
                "standard_deviation": float(returns.std()),
                "returns": [float(value) for value in returns],
            }
        )
        if interrupted:
            break
    if options.json:
        print(json.dumps(finite({"episodes": options.episodes, "policies": summaries}), allow_nan=False))
    elif evaluated:
        console().print(evaluations_table(evaluated))
    if interrupted:
        total = options.episodes * len(policies)
        print(f"xinet: interrupted after {finished:,} of {total:,} episodes", file=sys.stderr, flush=True)
    return 128 + signal.SIGINT if interrupted else 0
