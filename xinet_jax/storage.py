"""Trees of numpy arrays as Orbax files, which every process of a run writes and reads by itself."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orbax.checkpoint as ocp

from xinet_jax.compat.orbax import alone, handler
from xinet_jax.types import Tree

_PLAIN = re.compile(r"[A-Za-z0-9/._ -]*")


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Gives a folder a path that means nothing else to Orbax, for as long as it is needed.

    Orbax takes brackets, stars and question marks in a path for a pattern, a backslash for an escape, and a colon for
    the end of a scheme. Such a folder is reached through a symbolic link in the system's temporary folder.
    """
    folder = folder.absolute()
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    with plain_folder() as aside:
        link = aside / "folder"
        link.symlink_to(folder, target_is_directory=True)
        yield link


@contextlib.contextmanager
def plain_folder() -> Iterator[Path]:
    """Gives a new temporary folder with such a path. Raises OSError if the system's is none, and /tmp will not do."""
    system = Path(tempfile.gettempdir()).absolute()
    with tempfile.TemporaryDirectory(
        prefix="xinet_jax_", dir=system if _PLAIN.fullmatch(str(system)) else "/tmp"
    ) as folder:
        yield Path(folder)


def save_arrays(path: Path, tree: Tree) -> None:
    """Writes a tree of numpy arrays to a new folder."""
    with ocp.Checkpointer(handler(), multiprocessing_options=alone()) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(tree))


def reader() -> ocp.StandardCheckpointer:
    """Returns what reads such a folder: its `metadata`, and `restore`."""
    return ocp.StandardCheckpointer(multiprocessing_options=alone())
