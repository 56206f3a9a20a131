"""What every view has to keep to."""

import pytest

from vqcheck.report.document import CaseOutcome


@pytest.fixture(scope="session")
def agrees():
    """Returns whether the outcomes of the cases that count give a document's exit status."""

    def agree(document):
        """Say whether the outcomes of the cases that count give the exit status; every format relies on it."""
        counted = {case.outcome for case in document.cases if not case.is_advice}
        names = [(case.rule.id, case.name) for case in document.cases]
        assert len(set(names)) == len(names)
        assert all(case.message for case in document.cases)
        expected = {1: CaseOutcome.FAILED, 2: CaseOutcome.COULD_NOT_CHECK}.get(document.exit_code)
        return (
            expected in counted if expected else counted.isdisjoint((CaseOutcome.FAILED, CaseOutcome.COULD_NOT_CHECK))
        )

    return agree
