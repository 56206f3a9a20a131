"""What is said of one voice in the report of `vqcheck check`: what it comes to, what was found, what that means."""

import os

from vqcheck.audit.check_result import (
    ADVICE,
    Answer,
    Candidate,
    Missing,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history_result import Drift, HistoryRow
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.audit.token_power import Power, power, sentence
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.diagnosis.result import Severity, TokenFlips
from vqcheck.experiment.place import PlaceKind
from vqcheck.language import tr, trc, trn, word
from vqcheck.report.views.s1_s2 import evidence
from vqcheck.report.views.words import clauses, described, effect, listed, roughly, share, updates, version_words


def title(voice: VoiceCheck) -> str:
    """Return what a voice is called in a row of voices: `me (v2)`."""
    also = described(version_words(voice.version), tr("LoRA rank {rank}", rank=voice.rank) if voice.rank else "")
    return tr("{name} ({also})", name=voice.name, also=also) if also else voice.name


def headline(check: PlaceCheck) -> str:
    if not check.voices:
        if len(check.unreadable) == 1:
            file, why = check.unreadable[0]
            return tr("{name} {why}", name=short(file, check), why=why)
        return tr("{path} holds no voice that can be checked", path=check.path)
    if not check.compared:
        if not check.bases:
            return tr("no base model was found, so nothing says whether a VQ encoder moved; name it with --base")
        if any(voice.compared for voice in check.voices):
            return tr(
                "no file in {path} could be compared with a base of its version; name it with --base", path=check.path
            )
        return tr("no file of a voice could be compared with a base")
    if len(check.voices) == 1 and not check.unreadable:
        return trc("heading", "{name}: {text}", name=check.voices[0].name, text=voice_headline(check.voices[0]))
    everyone = trn("{number} voice", "{number} voices", len(check.voices))
    unsure = sum(voice.exit_code == 2 for voice in check.voices)
    alone = sum(voice.exit_code == 0 and not voice.compared for voice in check.voices)
    voices = (
        trn(
            "{number} of {voices} is affected",
            "{number} of {voices} are affected",
            len(check.affected),
            voices=everyone,
        ),
        tr("{number} could not be checked", number=unsure) if unsure else "",
        trn("{number} was not compared with a base", "{number} were not compared with a base", alone) if alone else "",
    )
    count = len(check.unreadable)
    files = trn("{number} file cannot be read", "{number} files cannot be read", count) if count else ""
    return clauses(listed(voices), files)


def voice_headline(voice: VoiceCheck) -> str:
    """Return what a voice comes to, in a clause."""
    if fails(voice.answer(Question.HEALTH)):
        return tr("a VQ encoder is not fit for use ({file})", file=_first_name(voice.answer(Question.HEALTH)))
    drifted = drift_of(voice)
    if drifted is not None:
        effect = _effect(voice.flips) if voice.flips else tr("the effect on the tokens was not measured")
        return clauses(_newest(drifted), effect)
    failed = [answer.question for answer in voice.answers if fails(answer)]
    if Question.BASE in failed:
        return tr("an earlier s2 file has another VQ encoder than the base, the newest has not")
    if failed[:1] == [Question.TOKENS] and other_recordings(voice):
        return tr("the features are of other recordings than the tokens")
    if failed:
        return {
            Question.TOKENS: tr("the recorded tokens do not agree with the base"),
            Question.S1_S2: tr("s1 and s2 do not speak the same tokens"),
            Question.LOCK: tr("s2 does not agree with the lock"),
        }[failed[0]]
    if voice.exit_code == 2:
        return tr("could not be checked completely")
    if voice.made_again and voice.newest and voice.newest.from_base:
        return tr("{newest}, and its tokens and s1 were made again with it", newest=_newest(voice.newest.from_base))
    return tr("fine") if voice.compared else tr("not compared with a base")


def other_recordings(voice: VoiceCheck) -> bool:
    """Say whether the tokens fail by their lengths alone, which says nothing of a VQ encoder."""
    audit = voice.answer(Question.TOKENS).audit
    return audit is not None and audit.only_lengths


def _first_name(answer: Answer) -> str:
    return os.path.basename(answer.files[0]) if answer.files else ""


def drift_of(voice: VoiceCheck) -> Drift | None:
    """Return how far the newest file is from the base, where it is not its rounding and the tokens are the base's."""
    drift = voice.newest.from_base if voice.newest else None
    return drift if drift and drift.verdict == Verdict.CHANGED and not voice.made_again else None


def _newest(drift: Drift) -> str:
    """Return how far the newest file is from its base, in a clause."""
    if drift.ema_steps is None:
        return tr("the newest s2 file has another VQ encoder than its base")
    return tr("the newest s2 file drifted by {updates}", updates=roughly(updates(drift.ema_steps), drift.precision))


def _effect(flips: TokenFlips) -> str:
    return tr(
        "{effect}: {share} of the frames get another token",
        effect=effect(flips),
        share=share(flips.flipped, flips.frames),
    )


def is_missing(answer: Answer) -> bool:
    return answer.outcome is CheckOutcome.NOT_APPLICABLE


def fails(answer: Answer) -> bool:
    return answer.outcome is CheckOutcome.FAILED and answer.question not in ADVICE


def message(answer: Answer) -> str:
    """Return what became of a question, in one sentence."""
    names = listed(map(os.path.basename, answer.files), 3)
    if answer.missing is not None:
        return lacks(answer.missing)
    if answer.outcome is CheckOutcome.COULD_NOT_CHECK:
        return answer.message or tr("It could not be decided: {names}", names=names)
    passed = answer.outcome is CheckOutcome.PASSED
    if answer.stages is not None:
        return evidence(answer.stages)
    if answer.audit is not None and answer.audit.only_lengths:
        count = len(answer.audit.wrong_lengths)
        return trn(
            "{number} item has another number of tokens than its features give",
            "{number} items have another number of tokens than their features give",
            count,
        )
    if answer.audit is not None and answer.outcome is CheckOutcome.FAILED and not answer.audit.contradictions:
        # The tokens pass with the base, which decides over a newest file that agrees with little data, too.
        name = os.path.basename(answer.audit.checkpoint)
        return tr(
            "The tokens of s1 agree with {base}, and {newest} has drifted from it",
            base=name,
            newest=os.path.basename(answer.files[-1]),
        )
    if answer.audit is not None:
        total, name = answer.audit.total, os.path.basename(answer.audit.checkpoint)
        agree = tr(
            "{agreeing} of {frames} tokens agree with {name}",
            agreeing=total.explained + total.near_ties,
            frames=total.frames,
            name=name,
        )
        if not passed:
            return tr("The tokens do not come from {name}: {agree}", name=name, agree=agree)
        found = power(answer.audit)
        return clauses(agree, sentence(found)) if found else agree
    if passed:
        return {
            Question.BASE: answer.message or tr("Every file has the VQ encoder of the base"),
            Question.LOCK: tr("It agrees: {names}", names=names),
            Question.HEALTH: tr("Use is concentrated on few codes: {names}", names=names)
            if names
            else tr("Every VQ encoder is in order"),
            Question.RESUME: tr("Nothing that has drifted would be resumed from"),
            Question.FREEZE: tr("freeze_quantizer is true in {names}", names=names),
        }.get(answer.question, answer.message)
    return {
        Question.BASE: tr("Another VQ encoder: {names}", names=names),
        Question.LOCK: tr("It does not agree: {names}", names=names),
        Question.HEALTH: tr("Not trained, not finite or broken: {names}", names=names),
        Question.RESUME: tr("The next training would resume from {names}, {fault}", names=names, fault=answer.message),
        Question.FREEZE: tr("freeze_quantizer is not true in {names}", names=names),
    }.get(answer.question, answer.message)


def power_of(answer: Answer) -> Power | None:
    """Return what tokens that agree could not have shown; None where they do not decide."""
    audit = answer.audit or (answer.stages.tokens if answer.stages else None)
    return power(audit) if audit and answer.outcome is CheckOutcome.PASSED else None


def first_moved(voice: VoiceCheck) -> str:
    first: HistoryRow | None = voice.run.first_moved if voice.run else None
    if voice.run is None or first is None or len(voice.run.rows) == 1:
        return ""
    moved = [row for row in voice.run.rows if row.moved]
    return tr(
        "{moved} of {rows} files moved; the first is {name}",
        moved=len(moved),
        rows=len(voice.run.rows),
        name=first.name,
    )


def meaning(voice: VoiceCheck) -> str:
    """Return what the findings mean for the sound; empty where nothing follows."""
    if fails(voice.answer(Question.HEALTH)):
        return tr("Every frame may get a meaningless token. This voice cannot be trusted.")
    drifted = drift_of(voice)
    if drifted is None:
        of_tokens = () if other_recordings(voice) else (Question.TOKENS,)
        if any(fails(voice.answer(question)) for question in (*of_tokens, Question.S1_S2)):
            return tr(
                "s1 was trained on tokens that mean something else to s2. Speech may be slurred or mispronounced."
            )
        return ""
    if voice.flips and not voice.flips.flipped:
        return tr(
            "The codes moved, but every frame of this experiment keeps its token. Nothing is to be heard of that."
        )
    if voice.flips and voice.flips.severity is Severity.SMALL:
        return tr("Few sounds are decoded as others. Most people hear no difference.")
    return tr(
        "s1 predicts tokens of the base, and s2 decodes them with codes that moved. Speech may be slurred or wrong."
    )


def compared(candidate: Candidate) -> str:
    name = os.path.basename(candidate.path)
    if candidate.verdict != Verdict.CHANGED:
        return tr("{name} {verdict}", name=name, verdict=word(candidate.verdict))
    if candidate.ema_steps is not None:
        far = roughly(updates(candidate.ema_steps), candidate.precision)
        return tr("{name} {updates} away", name=name, updates=far)
    return tr("{name} another codebook", name=name)


def lacks(missing: Missing) -> str:
    return {
        Missing.BASE: tr("no base of this version is here; name it with --base"),
        Missing.GENERATOR: tr("no s2 file of this voice is here"),
        Missing.READABLE: tr("no s2 file of this voice can be read"),
        Missing.TOKENS: tr("there is no 6-name2semantic.tsv"),
        Missing.FEATURES: tr("there are too few features in 4-cnhubert"),
        Missing.RECORDINGS: tr("the features in 4-cnhubert are of other recordings than the tokens"),
        Missing.PROJECTION: tr("the file leaves ssl_proj to its base, which is not here"),
        Missing.S1: tr("no s1 file of this voice is here"),
        Missing.EVIDENCE: tr("there is neither a lock nor 4-cnhubert"),
        Missing.LOCK: tr("there is no vqcheck.lock; make one after token extraction: vqcheck lock"),
        Missing.TRAINING: tr("there are no training files (logs_s2...)"),
        Missing.CONFIGURATION: tr("no s2 JSON of this voice is here"),
    }[missing]


def short(file: str, check: PlaceCheck) -> str:
    """Return a path from the place on, or from the GPT-SoVITS folder around it, where it lies in one and is shorter."""
    place = os.path.abspath(check.path)
    for folder in (os.path.dirname(place) if check.kind is PlaceKind.FILE else place, check.root):
        if folder and (inner := _inside(file, folder)) and len(inner) < len(file):
            return inner
    return file


def _inside(file: str, folder: str) -> str:
    """Return the path of a file from a folder on; empty where it lies elsewhere."""
    front = os.path.join(os.path.normcase(os.path.abspath(folder)), "")
    whole = os.path.abspath(file)
    return whole[len(front) :] if os.path.normcase(whole).startswith(front) else ""
