"""`python -m xinet_jax` is the command `xinet`."""

import sys

from xinet_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
