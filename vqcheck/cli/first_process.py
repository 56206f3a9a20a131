"""Which of several processes speaks."""

import os


def is_first_process() -> bool:
    """Say whether this process is the one that reports, under torchrun or alone."""
    return os.environ.get("RANK", "0") == "0"
