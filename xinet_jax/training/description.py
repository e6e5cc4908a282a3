"""A checkpoint's description: where the run stood, and what its arrays belong to."""

import dataclasses
from typing import Any

from xinet_jax.errors import brief
from xinet_jax.networks.modules import Shape
from xinet_jax.training.phases import PHASES, Position
from xinet_jax.training.savings import Ledger


@dataclasses.dataclass(frozen=True)
class Description:
    """Describes a checkpoint.

    Attributes:
      position: the phase, and how far it has come.
      environment_steps: environment steps of each member.
      seconds: since the start of the run, without the time between interruption and resumption [s].
      members: names of the members' policy folders, in the order of the arrays.
      widths: the sizes that the networks have come to.
      settled: whether every gate was rounded for good.
      capacity: transitions that each replay has room for; with several environments, that the ring of each has.
      filled: transitions of each replay, or ring, that the checkpoint holds.
      observations: rows of observations of each replay, or ring, that the checkpoint holds.
      metrics_bytes: length of the metrics file [bytes].
      ledger: what was learnt of the cost of compactions.
      newest_return: mean return of the newest evaluation or episodes; None if there was none, or it is not finite.
    """

    position: Position
    environment_steps: int
    seconds: float
    members: tuple[str, ...]
    widths: Shape
    settled: bool
    capacity: int
    filled: int
    observations: int
    metrics_bytes: int
    ledger: Ledger
    newest_return: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the description as JSON has it: `position` as two entries, networks' sizes by name."""
        described = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        position = described.pop("position")
        described |= {"members": list(self.members), "widths": self.widths._asdict(), "ledger": self.ledger.to_json()}
        return {"phase": position.phase, "position": position.iteration} | described

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Description":
        """Returns the description that `to_json` wrote. Other entries are left alone.

        Raises:
          ValueError: with the reason, for an entry that is missing, or of another type or range.
        """
        values = {name: _count(name, content.get(name)) for name in _COUNTS}
        phase, members, settled = (content.get(name) for name in ("phase", "members", "settled"))
        _require(isinstance(phase, str) and phase in PHASES, "phase", f"one of {', '.join(PHASES)}", phase)
        names = isinstance(members, list) and all(isinstance(name, str) for name in members)
        _require(names, "members", "a list of names", members)
        _require(isinstance(settled, bool), "settled", "true or false", settled)
        _require(values["filled"] <= values["capacity"], "filled", "at most capacity", values["filled"])
        seconds, newest_return = content.get("seconds"), content.get("newest_return")
        _require(_is_finite(seconds) and seconds >= 0, "seconds", "a number, 0 or more", seconds)
        _require(newest_return is None or _is_finite(newest_return), "newest_return", "a number or null", newest_return)
        return cls(
            position=Position(phase, _count("position", content.get("position"))),
            seconds=float(seconds),
            members=tuple(members),
            widths=_widths(content.get("widths")),
            settled=settled,
            ledger=Ledger.from_json(content.get("ledger")),
            newest_return=None if newest_return is None else float(newest_return),
            **values,
        )


def _widths(sizes: Any) -> Shape:
    """Returns the networks' sizes. Raises ValueError if they are no sizes."""
    _require(isinstance(sizes, dict) and set(sizes) == set(Shape._fields), "widths", "the sizes of networks", sizes)
    numbers = ("observation", "action", "predicted")
    for name, size in sizes.items():
        _require(isinstance(size, list) != (name in numbers), f"widths of {name}", "sizes of units", size)
        for width in size if isinstance(size, list) else [size]:
            _count(f"widths of {name}", width)
    return Shape(**{name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()})


_COUNTS = ("environment_steps", "capacity", "filled", "observations", "metrics_bytes")


def _count(name: str, value: Any) -> int:
    _require(type(value) is int and value >= 0, name, "a whole number, 0 or more", value)
    return value


def _is_finite(value: Any) -> bool:
    """Returns whether it is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= 1e308


def _require(holds: bool, name: str, allowed: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, not {brief(value, quoted=True)}")
