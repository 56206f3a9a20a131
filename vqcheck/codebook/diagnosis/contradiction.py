"""Holds what two files say of their training steps against what their values show."""

from vqcheck.codebook.diagnosis.evidence import A_TO_B, B_TO_A, EXACT, EmaUpdates
from vqcheck.codebook.diagnosis.result import Cause
from vqcheck.codebook.model import Training


def contradicts(cause: Cause, training: tuple[Training, Training]) -> bool:
    """Say whether the updates found cannot be those of the steps that the files say lie between them.

    Fewer updates than steps are no contradiction: a codebook may have been frozen for a while. A file without a step
    number, as a base is, counts as step 0.
    """
    found = cause.evidence
    steps_a, steps_b = (each.steps for each in training)
    if not isinstance(found, EmaUpdates) or found.order not in (A_TO_B, B_TO_A):
        return False
    if steps_a is None and steps_b is None:
        return False
    apart = (steps_b or 0) - (steps_a or 0)
    if found.order == B_TO_A:
        apart = -apart
    return apart < 0 or (found.precision == EXACT and found.steps is not None and apart < found.steps)
