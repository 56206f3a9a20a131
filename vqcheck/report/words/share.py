"""Shares in percent."""


def share(part: int, whole: int) -> str:
    """Return a share in percent with as many digits as it needs; neither 0 % nor 100 % unless it is exactly that."""
    percent = 100 * part / whole
    if part in (0, whole):
        return f"{percent:.0f} %"
    if percent > 99:
        return f"{min(percent, 99.99):.2f} %" if percent > 99.5 else f"{percent:.1f} %"
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2g} %"
