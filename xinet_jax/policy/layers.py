"""The layers of a saved policy's agent, read without JAX and not checked against each other."""

import json
from pathlib import Path

from xinet_jax.errors import UserError
from xinet_jax.networks.layer_count import LayerCount

STRUCTURE_FILE = "policy.json"


def read_layers(folder: Path) -> tuple[LayerCount, ...]:
    """Returns the layers that a policy's description lists, before and after pruning; () if there is no description.

    `xinet_jax.policy.structure.load_structure` reads all of it, and checks it.

    Raises:
      UserError: if it cannot be read, or lists no layers.
    """
    file = folder / STRUCTURE_FILE
    try:
        rows = json.loads(file.read_bytes())["layers"]
        numbers = LayerCount._fields[2:]
        return tuple(
            LayerCount(str(row["network"]), str(row["name"]), *(int(row[name]) for name in numbers)) for row in rows
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"damaged policy {file}: {type(error).__name__}: {error}") from None
