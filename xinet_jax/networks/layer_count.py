"""One layer's counts before and after pruning, as files hold them. Nothing here needs JAX."""

from typing import NamedTuple


class LayerCount(NamedTuple):
    """One layer before and after pruning, in whole numbers. The twin critics are separate: critic_1, critic_2."""

    network: str
    name: str
    units_before: int
    units: int
    parameters_before: int
    parameters: int
    flops_before: int
    flops: int

    @property
    def in_policy(self) -> bool:
        """Whether the layer is needed to act."""
        return in_policy(self.network, self.name)


def in_policy(network: str, name: str) -> bool:
    """Returns whether a group of units is needed to act: OFENet's state branch and the actor are."""
    return network == "actor" or (network == "ofenet" and name.startswith("state_"))
