"""Where commands print their results."""

from rich.console import Console

from xinet_jax.telemetry.console import FittingConsole


def console() -> Console:
    """Returns where results are printed. What goes to a file needs no column cut short."""
    result = FittingConsole()
    return result if result.is_terminal else FittingConsole(width=140)
