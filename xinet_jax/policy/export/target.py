"""What a policy can be exported to: formats, and the checks of a file to write. Nothing heavy is loaded here."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from xinet_jax.errors import UserError, unknown_name
from xinet_jax.packages import is_installed


class Format(NamedTuple):
    """A kind of file.

    Attributes:
      ending: of the file.
      beside: ending of a second file, which is written beside it under the name of `identifier`, if there is one.
      extra: the extra that has the packages.
      packages: what must be installed to write it.
    """

    ending: str
    beside: str | None = None
    extra: str | None = None
    packages: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(".onnx", extra="onnx", packages=("onnx", "onnxruntime")),
    "stablehlo": Format(".stablehlo", extra="stablehlo", packages=("flatbuffers",)),
    "numpy": Format(".npz", beside=".py"),
    "c": Format(".h"),
}


class Export(NamedTuple):
    """What an export wrote.

    Attributes:
      files: the files.
      difference: the largest difference between an action of theirs and the policy's, over `check.ROWS` observations,
        in units of the task's actions; None if they could not be run here.
    """

    files: tuple[Path, ...]
    difference: float | None


def format_of(file: Path | str, format: str | None = None) -> str:
    """Returns the format to write: the one that is named, or else that of the file's ending.

    Raises:
      UserError: for a format or an ending that is unknown, or where they do not agree.
    """
    file = Path(file)
    if format is None:
        names = [name for name, kind in FORMATS.items() if kind.ending == file.suffix]
        if not names:
            endings = ", ".join(kind.ending for kind in FORMATS.values())
            raise UserError(f"{file} must end in one of {endings}, or name a format")
        return names[0]
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if file.suffix != FORMATS[format].ending:
        raise UserError(f"a file in format {format} must end in {FORMATS[format].ending}, not '{file.suffix}': {file}")
    return format


def target_files(file: Path | str, format: str, overwrite: bool = False) -> tuple[Path, ...]:
    """Returns the files that an export writes.

    Args:
      file: the file that the user named.
      format: a key of `FORMATS`.
      overwrite: whether files that exist are replaced.

    Raises:
      UserError: for a missing package, or a file that cannot be written.
    """
    file, kind = Path(file), FORMATS[format]
    for package in kind.packages:
        if not is_installed(package):
            raise UserError(f"format {format} needs the package {package}: pip install 'xinet_jax[{kind.extra}]'")
    files = (file, file.with_name(identifier(file) + kind.beside)) if kind.beside else (file,)
    for path in files:
        try:
            exists = path.exists()
            writable = not path.is_dir() and os.access(path.absolute().parent, os.W_OK)
        except (OSError, ValueError) as error:  # a name too long, a null character
            raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
        if not writable:
            raise UserError(
                f"cannot write {path}: it is a folder, or its own folder is not there or may not be written to"
            )
        if exists and not overwrite:
            raise UserError(f"{path} exists: choose another name, or --overwrite")
    return files


def identifier(file: Path) -> str:
    """Returns a name for the policy in a file, which C and Python can take.

    Examples:
      >>> [identifier(Path(name)) for name in ("cheetah.h", "my-policy.h", "policy.h", "2.h")]
      ['cheetah_policy', 'my_policy', 'xinet_policy', 'xinet_2_policy']
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "_", file.stem).strip("_")
    stem = re.sub(r"_?policy$", "", stem)
    if not re.match("[A-Za-z]", stem):
        stem = f"xinet_{stem}".rstrip("_")
    return f"{stem}_policy"
