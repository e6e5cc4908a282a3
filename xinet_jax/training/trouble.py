"""What went wrong with a member, in words."""


def trouble(diverged: int | None, bad_transitions: int) -> str:
    """Returns what went wrong with a member, in a few words; nothing if nothing did.

    Args:
      diverged: environment steps by which it had diverged; None if it did not.
      bad_transitions: how many of its transitions were not finite.
    """
    troubles = [] if diverged is None else [f"diverged by step {diverged:,}"]
    troubles += [f"{bad_transitions:,} bad transitions"] if bad_transitions else []
    return "; ".join(troubles)
