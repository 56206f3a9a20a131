"""Results of every command, small and very large, harmless and hostile, and the page of each."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from vqcheck.report.html import diff, failed, gate, history, replay, stages, tokens

from vqcheck.audit.history_result import Drift, History, HistoryRow, TrainingRun
from vqcheck.audit.judgement import CheckOutcome, Judgement, StageComparison
from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit
from vqcheck.codebook.comparison import Change, ComparedFile, Comparison, CopyPair, EqualCopies, LoneCopy, TensorDiff
from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.codebook.diagnosis.result import (
    Advice,
    Cause,
    CodeChanges,
    CodeFlips,
    Diagnosis,
    Displacement,
    ItemFlips,
    TokenFlips,
)
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.codebook.model import Training
from vqcheck.gate.checks import CHECKS
from vqcheck.gate.result import CheckResult, GateReport
from vqcheck.replay.trace import (
    COMPUTED,
    DRIFTED,
    FROZEN,
    OFF,
    Arm,
    Extent,
    FirstWrite,
    Replay,
    Setting,
    StepTrace,
    TensorStep,
)


def digests(letter):
    whole = Digest(F32V1, letter * 64)
    return EncoderDigests((("codes", whole),), whole, whole, whole)


def make_arm(name="none", *, moved=True, steps=6, writes=1, tensors=1, said="", loss=0.25, first=2):
    def step(number):
        gone = moved and number >= first
        drift = 0.125 * (number - first + 1) if gone else 0.0
        codes = TensorStep("codes", gone, gone, 64 * gone, 64, drift, 0.5 * gone)
        value = loss + 0.01 * math.sin(number)
        return StepTrace(
            number, 1, {}, {}, value if moved else 0.0, COMPUTED if moved else OFF, value, (codes,) * tensors,
            3 * gone, 1e-4, 0.1, (),
        )  # fmt: skip

    trace = tuple(step(number) for number in range(1, steps + 1))
    written = tuple(
        FirstWrite(f"codes{said}", first, first, "aten.copy_.default", f"/somewhere/models{said}.py", 12, f"f{said}")
        for _ in range(writes)
    )
    return Arm(
        strategy=name,
        stops=f"Stops something.{said}",
        expected=DRIFTED if moved else FROZEN,
        steps_run=steps,
        complete=True,
        steps=trace,
        kept_every=1,
        commit_loss=Extent(loss, loss) if moved else Extent(0.0, 0.0),
        shadow_commit_loss=Extent(loss - 0.01, loss + 0.01),
        first_writes=written if moved else (),
        digest_at_start=digests("a"),
        digest_at_first_change=digests("b") if moved else None,
        digest_at_end=digests("c" if moved else "a"),
        rank_differences=0,
        median_seconds=0.1,
        tracing_seconds=0.001,
        checkpoint=said or None,
    )


def make_replay(arms, said=""):
    setting = Setting(
        f"tiny{said}", f"fresh{said}", f"6 generated items{said}", 6, 2, 1, f"CPU{said}", "fp32", 1, "2.13", 152,
        (f"a note{said}",), f"my.code:make{said}" if said else None,
    )  # fmt: skip
    return Replay(setting, tuple(arms), complete=True)


def make_comparison(*, books=1, codes=64, tensors=3, moved=True, said="", flips=20, trained=True):
    def side(letter):
        return ComparedFile(
            f"/path/{letter}{said}.pth", f"gpt-sovits{said}", said, never_trained=not trained, digests=digests(letter)
        )

    def tensor(number):
        change = Change(min(7, codes), codes, 0.5, (0, 1), 0.25, (0, 1), 0) if moved else None
        return TensorDiff(
            f"{number} codes{said}", "codes", "changed" if moved else "identical", True, said,
            f"a{said}", f"b{said}", "float32", "float32", (1, codes, 8), (1, codes, 8),
            Digest(F32V1, "a" * 64), Digest(F32V1, ("b" if moved else "a") * 64), change,
        )  # fmt: skip

    diagnosis = make_diagnosis(books, codes, said, flips) if moved else None
    verdict = "changed" if moved else "identical"
    return Comparison(
        side("a"),
        side("b"),
        "all",
        tuple(map(tensor, range(tensors))),
        verdict,
        pairs=(CopyPair(f"gpt-sovits{said}", f"weight{said}", f"model{said}", verdict, guessed=False),),
        lone=(LoneCopy("B", f"gpt-sovits{said}", f"ema{said}", f"model{said}", "changed"),) * bool(said),
        equal=(EqualCopies(f"weight{said}", f"ema{said}"),) * bool(said),
        codecs=("gpt-sovits",),
        diagnosis=diagnosis,
    )


def make_diagnosis(books=1, codes=64, said="", flips=20):
    def book(number):
        moved = tuple(0.0 if code % 4 == 0 else 0.001 * (1 + (code * 37 + number) % 900) for code in range(codes))
        a, b = tuple(float(code % 40) for code in range(codes)), tuple(float(code % 25) for code in range(codes))
        return CodeChanges(number, f"{number}{said}" if books > 1 or said else "", moved, (a, b))

    updates = EmaUpdates("a to b", 37, "exact", 37.0, 0.99, 2, codes, (5, 6), ())
    return Diagnosis(
        family="gpt-sovits",
        causes=tuple(Cause("certain", updates, number) for number in range(books)),
        displacement=tuple(Displacement(number, codes, 0.02, 0.03, 0.04, 3, 0, codes) for number in range(books)),
        flips=TokenFlips(
            f"4-cnhubert{said}", 100, 5000, 500, tuple(CodeFlips(i, 9, 5, 1) for i in range(flips)),
            tuple(ItemFlips(f"{i}{said}.wav", 90, 5) for i in range(flips)),
            tuple((f"s{i}{said}", f"why{said}") for i in range(flips)), "",
        ),
        training=(Training(None, None, None), Training(f"8epoch_400iteration{said}", 8, 400)),
        advice=(Advice("extract-tokens-again", "Extract the tokens again."),),
        codes=tuple(map(book, range(books))),
    )  # fmt: skip


def make_history(count=8, *, first=5, said=""):
    def row(number):
        moved = first is not None and number >= first
        drift = Drift(("G_0.pth",), "changed", 9, 64, 0.01 * (number - first + 1), 1, "exact") if moved else None
        same = Drift(("G_0.pth",), "identical", 0, 64, 0.0, 0, "")
        letter = f"{number:064x}" if moved else "a" * 64
        return HistoryRow(
            f"G_{number}{said}.pth", FileRecord(FileKind.TRAINING, 1, 100 * number), Digest(F32V1, letter),
            "vq_encoder", None, (drift or same) if number else None, (drift or same) if number else None,
        )  # fmt: skip

    others = ((f"D_1{said}.pth", f"no codebook{said}"),)
    run = TrainingRun("", None, "", tuple(map(row, range(count))), ())
    return History(f"/logs{said}", "all", (run,), others * min(count, 60), ())


def make_audit(items=4, *, wrong=1, said="", notes=1):
    def item(number):
        off = wrong if number % 2 else 0
        counts = FrameCounts(50, 50 - off, 0, off, 0, "float32")
        return ItemAudit(f"{number}{said}.wav", f"6-name2semantic.tsv:{number}", 50, 50, counts)

    return TokenAudit(
        f"/path/s2G{said}.pth", "gpt-sovits", digests("a"), f"/logs/me{said}", (f"6-name2semantic{said}.tsv",), items,
        tuple(map(item, range(items))), False, "any", (0, 0), (f"w{said}",) * notes, (), (f"r{said}",) * notes,
        (), ((f"tsv:3{said}", f"bad{said}"),) * (notes if said else 0), False, (),
    )  # fmt: skip


def make_gate(outcome=CheckOutcome.FAILED, said=""):
    found = [
        outcome,
        CheckOutcome.COULD_NOT_CHECK,
        CheckOutcome.PASSED,
        CheckOutcome.NOT_APPLICABLE,
        CheckOutcome.SKIPPED,
    ]
    if outcome == CheckOutcome.PASSED:
        found = [CheckOutcome.PASSED]
    return GateReport(
        f"s2{said}.json",
        tuple(
            CheckResult(check.code, check.title, check.required, Judgement(found[at % len(found)], f"found so{said}"))
            for at, check in enumerate(CHECKS)
        ),
    )


def make_stages(verdict="inconsistent", said=""):
    return StageComparison(f"s1{said}.ckpt", f"s2{said}.pth", verdict, "lock", f"the lock agrees{said}")


def every_page(said=""):
    """Return name -> page of each command and outcome, with a text planted wherever a file could put one."""
    arms = [make_arm(f"none{said}", said=said), make_arm(f"freeze{said}", moved=False, said=said)]
    leaking = replace(make_arm(f"as-is{said}", said=said), expected=FROZEN)
    one = make_comparison(said=said)
    several = replace(
        one,
        pairs=(*one.pairs, replace(one.pairs[0], family=f"mimi{said}")),
        further=(replace(make_diagnosis(3, said=said), family=f"mimi{said}"),),
    )
    return {
        "diff changed": diff.document(make_comparison(said=said)),
        "diff of a residual codec": diff.document(make_comparison(books=4, tensors=12, said=said)),
        "diff of two codecs": diff.document(several),
        "diff identical": diff.document(make_comparison(moved=False, said=said)),
        "diff never trained": diff.document(make_comparison(moved=False, said=said, trained=False)),
        "stages apart": stages.document(make_stages(said=said)),
        "stages together": stages.document(make_stages("consistent", said)),
        "stages unknown": stages.document(make_stages("could not check", said)),
        "tokens wrong": tokens.document(make_audit(said=said), None),
        "tokens right": tokens.document(make_audit(wrong=0), None),
        "tokens of two files": tokens.document(make_audit(said=said), make_audit(wrong=0, said=said)),
        "history moved": history.document(make_history(said=said)),
        "history still": history.document(make_history(first=None, said=said)),
        "history of nothing": history.document(make_history(0, first=None, said=said)),
        "replay as expected": replay.document(make_replay(arms, said)),
        "replay not as expected": replay.document(make_replay([arms[0], leaking], said)),
        "replay inconclusive": replay.document(make_replay([arms[1]], said)),
        "gate closed": gate.document(make_gate(said=said)),
        "gate open": gate.document(make_gate(CheckOutcome.PASSED, said)),
        "gate unknown": gate.document(make_gate(CheckOutcome.COULD_NOT_CHECK, said)),
        "failed": failed.document("diff", f"absent.pth: no such file{said}"),
    }


HARMLESS = every_page()


@pytest.fixture(scope="session")
def pages():
    """Every page, by name."""
    return HARMLESS


@pytest.fixture(params=HARMLESS)
def page(request):
    """Each page in turn."""
    return HARMLESS[request.param]


@pytest.fixture(scope="session")
def body_of():
    """Returns the body of a page as a tree; it is strict: every element is closed, every attribute quoted."""
    return lambda page: ET.fromstring(re.search("<body>.*</body>", page, re.DOTALL)[0])


@pytest.fixture(scope="session")
def text_of():
    """Returns the words in an element, joined by spaces."""
    return lambda element: " ".join(" ".join(element.itertext()).split())


@pytest.fixture(scope="session")
def make():
    """Makes results of every command."""
    return SimpleNamespace(
        arm=make_arm, replay=make_replay, comparison=make_comparison, diagnosis=make_diagnosis, history=make_history,
        audit=make_audit, gate=make_gate, stages=make_stages, every_page=every_page,
    )  # fmt: skip
