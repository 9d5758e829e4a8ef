"""What to say of a ranking that follows something simple."""

from collections.abc import Mapping

DOMINANT = 0.7  # of a rank correlation: from here on half of the order's variance goes with it


def confound_note(correlations: Mapping[str, float], *, adjusted: bool) -> str | None:
    """A sentence about the trait that the order follows, if one dominates."""
    name = max(correlations, key=lambda trait: abs(correlations[trait]), default=None)
    if name is None or abs(correlations[name]) < DOMINANT:
        return None
    direction = "high" if correlations[name] > 0 else "low"
    # of what --adjust takes out only the aspect ratio can be left
    remedy = "" if adjusted or name == "aspect ratio" else "; --adjust complexity takes that out"
    return (
        f"The order mostly follows {direction} {name} (rank correlation {correlations[name]:.2f})"
        f"{remedy}."
    )
