"""Runs random scenarios whose truth is known, and counts what the diagnosis makes of them."""

import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from scenarios import SCENARIOS, Trial

from vqcheck import compare, open_checkpoint

WRONG = ("wrong direction", "false certainty", "wrong exact number", "bound too high", "false cause")


@dataclass
class Outcome:
    """What one trial came to."""

    verdict: str
    """`right`, `vague` (the number could have been exact), `silent`, or one of WRONG."""
    told: str


def told(causes):
    """Return causes in short."""
    texts = []
    for cause in causes:
        found = cause.evidence
        how = getattr(found, "how", "")
        if cause.code == "ema-updates":
            how = f"{found.order} {found.precision} {found.steps}"
        texts.append(f"{cause.certainty} {cause.code}{f' ({how})' if how else ''}")
    return "; ".join(texts) or "nothing"


def judge(trial: Trial, causes) -> str:
    """Return what a diagnosis is worth, the worst that can be said of it."""
    found = [cause.evidence for cause in causes if cause.code == "ema-updates"]
    named = {cause.code for cause in causes} - {"unexplained"}
    for each in found:
        if each.order != "unknown" and each.order not in trial.order.split(", "):
            return WRONG[0]
    if {cause.code for cause in causes if cause.certainty == "certain"} - trial.causes:
        return WRONG[1]
    for each in found:
        if each.precision == "exact" and each.steps != trial.steps:
            return WRONG[2]
        one_way = trial.order in ("a to b", "b to a")
        if each.precision == "at least" and one_way and trial.steps and each.steps > trial.steps:
            return WRONG[3]
        if trial.averaged and each.precision in ("exact", "about"):
            return WRONG[2]
        if each.precision == "about" and trial.steps and abs(each.steps - trial.steps) > max(1, 0.1 * trial.steps):
            return WRONG[2]
    if named - trial.causes:
        return WRONG[4]
    if not named:
        return "silent"
    if trial.exact and not any(each.precision == "exact" for each in found):
        return "vague"
    return "right"


def run(name: str, trials: int, seed: int, folder: Path):
    """Yield (trial's seed, whether it could be told, outcome) for each trial of one scenario."""
    for number in range(trials):
        key = f"{name} {seed} {number}"
        trial = SCENARIOS[name](random.Random(key))
        for letter, state in (("a", trial.a), ("b", trial.b)):
            save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{letter}.safetensors")
        with open_checkpoint(folder / "a.safetensors") as a, open_checkpoint(folder / "b.safetensors") as b:
            diagnosis = compare(a, b).diagnosis
        causes = diagnosis.causes if diagnosis else ()
        yield key, trial.tellable, Outcome(judge(trial, causes), told(causes))


def main(arguments=None):
    """Print a confusion matrix: scenario by outcome."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--show", type=int, default=2, help="examples of what went wrong, for each scenario")
    options = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            counts, examples, tellable, specific = Counter(), [], 0, 0
            for key, could, outcome in run(name, options.trials, options.seed, Path(folder)):
                counts[outcome.verdict] += 1
                tellable += could
                specific += could and outcome.verdict == "right"
                if outcome.verdict in WRONG or (could and outcome.verdict != "right"):
                    examples.append(f"      {outcome.verdict}: [{key}] {outcome.told}")
            failed += sum(counts[wrong] for wrong in WRONG)
            share = f"{specific / tellable:.1%} of {tellable}" if tellable else "-"
            print(f"{name:48} {share:>16}  {dict(counts)}", flush=True)
            for example in examples[: options.show]:
                print(example)
    print(f"wrong: {failed}")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
