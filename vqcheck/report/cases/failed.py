"""A run that could not check at all, as a list of checks: there is one, and it could not be carried out."""

from vqcheck.report.cases.case import COULD_NOT_CHECK, Case, Rule, Run


def run(command: str, message: str, path: str) -> Run:
    """Return the run; `path` is the file that the message is about, empty where it is about none."""
    rule = Rule(
        f"{command}/could-not-check",
        "the command can be carried out",
        "Nothing was checked, so nothing is known to be right: a file cannot be read, holds no codebook, or the "
        "command line makes no sense. The message says which.",
    )
    return Run(
        command,
        path or command,
        COULD_NOT_CHECK,
        2,
        message,
        (Case(rule, "the run", COULD_NOT_CHECK, message, path),),
    )
