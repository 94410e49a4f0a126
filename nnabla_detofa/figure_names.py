"""Names of the figures that metrics give (Section 4.2): a run's tables and pictures say them."""

NAMES = {"miou": "mIoU", "top1": "accuracy"}


def figure_name(metric: str | None) -> str:
    """The name of a metric's figure; AP, of whatever kind, where nothing else is known."""
    return NAMES.get(metric or "", "AP")
