"""Text that others wrote, in one line: what would break the line or steer a terminal is escaped."""


def printable(text: str, kept: str = "") -> str:
    """Return the text with each character escaped that is not printable and not in `kept`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else ascii(char)[1:-1] for char in text)
