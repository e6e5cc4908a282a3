"""Which optional packages are installed."""

import importlib.util


def is_installed(name: str) -> bool:
    """Returns whether a package can be imported. A folder of its name, which Python takes for one, does not count.

    Examples:
      >>> is_installed("numpy"), is_installed("nothing_of_that_name")
      (True, False)
    """
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
