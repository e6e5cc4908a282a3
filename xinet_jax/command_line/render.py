"""`xinet render`: films a saved policy."""

from rich.markup import escape

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import RenderArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.command_line.start import start_jax


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(RenderArguments, arguments, "xinet render")
    start_jax()
    from xinet_jax.policy.files import load_policy
    from xinet_jax.policy.rendering import render

    frames = render(
        load_policy(options.path), options.out, options.seed, options.seconds, options.width, options.height, True
    )
    console().print(f"{escape(options.out)}: {frames} frame{'s' * (frames > 1)}", highlight=False, soft_wrap=True)
    return 0
