"""Groups: the members of a run that differ in nothing but their seeds. Each has one line in a chart."""

from collections.abc import Sequence
from typing import NamedTuple

from xinet_jax.config import round_of, value_text
from xinet_jax.report.record import Curve, MemberRecord, RunRecord
from xinet_jax.report.series import Aligned, aligned, thinned

COLORS = 8  # that page.css names
DASHES = ("solid", "dash", "dot", "dashdot")


class Group(NamedTuple):
    """Members of one run with the same hyper-parameters.

    Attributes:
      run: the run.
      members: one per seed.
      label: what tells it from the other groups.
      color: number of its colour.
      dash: kind of its lines.
    """

    run: RunRecord
    members: tuple[MemberRecord, ...]
    label: str
    color: int
    dash: str

    def curves(self, name: str) -> Aligned:
        """Returns the members' curves by the names of `MemberRecord.curves`, or `flops_left`, `updates_per_second`."""
        return thinned(aligned([_curve(self.run, member, name) for member in self.members]))

    def units(self, layer: str) -> Aligned:
        """Returns the units that the members have left in a layer."""
        empty = aligned([])
        curves = [member.units.get(layer, Curve(empty.steps, empty.values.reshape(-1))) for member in self.members]
        return thinned(aligned(curves))


def groups_of(runs: Sequence[RunRecord]) -> list[Group]:
    """Returns the groups of all runs: one colour per run, or if there is one run, one for each of its groups."""
    groups = []
    for number, run in enumerate(runs):
        combinations: dict[tuple[float, ...], list[MemberRecord]] = {}
        for member in run.members:
            combinations.setdefault(tuple(member.settings.values()), []).append(member)
        for place, members in enumerate(combinations.values()):
            settings = setting_text(members[0].settings)
            alone = f"seed {members[0].seed}" if len(members) == 1 else f"mean over {len(members)} seeds"
            words = [run.name] * (len(runs) > 1) + [settings or alone] * bool(settings or len(runs) == 1)
            color, shift = (number, place) if len(runs) > 1 else (place, 0)
            dash = DASHES[(shift + color // COLORS) % len(DASHES)]
            groups.append(Group(run, tuple(members), ", ".join(words), color % COLORS, dash))
    return groups


def whole_runs(groups: Sequence[Group]) -> list[Group]:
    """Returns one group for each run, of all its members: for what they have in common."""
    runs = {id(group.run): group for group in reversed(groups)}
    return [group._replace(members=group.run.members, label=group.run.name) for group in reversed(runs.values())]


def setting_text(settings: dict[str, float]) -> str:
    """Returns hyper-parameters in words: `ν = 100, tau = 0.005`."""
    return ", ".join(f"{'ν' if name == 'nu' else name} = {value_text(value)}" for name, value in settings.items())


def short_mean(value: float) -> str:
    """Returns a mean number of units with one decimal, or none if it is whole.

    Examples:
      >>> short_mean(38.333), short_mean(40.0)
      ('38.3', '40')
    """
    return f"{value:.1f}".removesuffix(".0")


def _curve(run: RunRecord, member: MemberRecord, name: str) -> Curve:
    if name == "flops_left":
        return member.flops_left
    if name == "updates_per_second":
        steps, rates = member.curves["iterations_per_second"]
        cycle = round_of(run.config)
        return Curve(steps, rates * cycle.updates / cycle.steps)
    return member.curves[name]
