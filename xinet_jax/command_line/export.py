"""`xinet export`: writes a policy in another format, and says how far it is from the policy."""

from pathlib import Path

from xinet_jax.command_line.options import ExportArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import start_jax
from xinet_jax.policy.export.target import format_of, target_files


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(ExportArguments, arguments, "xinet export")
    chosen = format_of(options.out, options.format)
    target_files(options.out, chosen, options.overwrite)  # mistakes are told before anything is loaded
    start_jax()
    from xinet_jax.policy.export.check import ROWS
    from xinet_jax.policy.files import load_policy

    result = load_policy(options.path).export(options.out, chosen, options.overwrite)
    for file in result.files:
        print(f"{file}: {Path(file).stat().st_size:,} bytes")
    if result.difference is None:
        print("Not checked against the policy: there is no C compiler on the path")
    else:
        print(f"Checked on {ROWS:,} observations: actions differ by at most {result.difference:.1g}")
    return 0
