"""Catalogues are complete and in step with the source, and no report keeps a sentence from them."""

import html
import importlib.util
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from string import Formatter
from types import SimpleNamespace

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract

from vqcheck import language
from vqcheck.cli.asked_language import asked_language
from vqcheck.cli.main import main
from vqcheck.codebook.diagnosis import causes, evidence
from vqcheck.codebook.diagnosis.advice import advise
from vqcheck.codebook.diagnosis.evidence import (
    DecaySteps,
    EditTrace,
    MergeKind,
    ProjectionChange,
    StepPrecision,
    UpdateOrder,
)
from vqcheck.codebook.diagnosis.result import Cause, Certainty, Diagnosis
from vqcheck.codebook.model import Training
from vqcheck.language import capitalized, listed, localized, sentences, tr, trc, trn
from vqcheck.report.views.causes import headline
from vqcheck.report.views.evidence import evidence as lines
from vqcheck.report.views.many_files import could_not_check

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("make_translations", ROOT / "fixtures" / "make_translations.py")
translations = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(translations)

DIFF = ("diff", "fixtures/checkpoints/base_v2.pth", "fixtures/checkpoints/G_437.pth")


@pytest.fixture(autouse=True)
def english_again(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE", "VQCHECK_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    yield
    language.choose("en")


@pytest.fixture(scope="module")
def messages():
    return translations.template()


class TestCatalogues:
    @pytest.mark.parametrize("name", translations.languages())
    def test_every_message_is_translated_and_none_is_stale(self, messages, name):
        assert list(translations.problems(translations.read(translations.path_of(name)), messages)) == []

    @pytest.mark.parametrize("name", translations.languages())
    def test_what_the_program_reads_is_what_people_edit(self, name):
        path = translations.path_of(name)
        assert path.with_suffix(".mo").read_bytes() == translations.compiled(path)

    def test_chinese_is_there(self):
        assert language.languages() == ("en", "zh")

    @pytest.mark.parametrize(
        ("id_", "string", "kind"),
        [
            ("{count} codes moved", "", "untranslated"),
            ("{count} codes moved", "动了 {number} 个码", "other fields"),
            ("{count} codes moved", "码动了", "other fields"),
            ("{count:,} codes moved", "动了 {count} 个码", "other fields"),
            ("no longer said", "不再说", "stale"),
        ],
    )
    def test_a_fault_in_a_catalogue_is_found(self, id_, string, kind):
        source, catalogue = Catalog("zh", fuzzy=False), Catalog("zh", fuzzy=False)
        if kind != "stale":
            source.add(id_)
        catalogue.add(id_, string)
        assert [each.partition(":")[0] for each in translations.problems(catalogue, source)] == [kind]

    def test_messages_inside_other_calls_are_found(self):
        source = b'tr("a {x}", x=f(tr("b"), trn("c", "d", n))); trc("e", "f"); tr(f"g{x}")'
        found = extract(translations.calls, io.BytesIO(source), translations.KEYWORDS)
        assert [(text, context) for _, text, _, context in found] == [
            ("a {x}", None),
            ("f", "e"),
            ("b", None),
            (("c", "d"), None),
        ]

    def test_a_right_catalogue_has_no_fault(self):
        source, catalogue = Catalog("zh", fuzzy=False), Catalog("zh", fuzzy=False)
        for each in (source, catalogue):
            each.add("{count:,} of {all} codes", "{all} 个码中的 {count:,} 个" if each is catalogue else None)
            each.add(("{number} code", "{number} codes"), ("{number} 个码",) if each is catalogue else None)
        assert list(translations.problems(catalogue, source)) == []


class TestChoice:
    @pytest.mark.parametrize(
        ("environment", "found"),
        [
            ({}, "en"),
            ({"LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_CN.GBK"}, "zh"),
            ({"LANG": "zh-Hans-CN"}, "zh"),
            ({"LANG": "zh_TW.UTF-8"}, "en"),
            ({"LANG": "de_DE.UTF-8"}, "en"),
            ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
            ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
            ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
            ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh_CN"}, "en"),
            ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
            ({"VQCHECK_LANG": "zh"}, "zh"),
            ({"VQCHECK_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
            ({"VQCHECK_LANG": "nonsense", "LANG": "zh_CN.UTF-8"}, "en"),
        ],
    )
    def test_of_the_environment(self, environment, found):
        assert asked_language((), environment) == found

    @pytest.mark.parametrize("arguments", [("--lang", "zh", "diff"), ("diff", "a", "--lang=zh")])
    def test_of_the_command_line(self, arguments):
        assert asked_language(arguments, {"VQCHECK_LANG": "en", "LANG": "en_US"}) == "zh"

    def test_what_belongs_to_a_script_is_not_ours(self):
        assert asked_language(("run", "--", "python", "--lang", "zh"), {}) == "en"

    def test_an_unknown_one_is_a_usage_error(self, capsys):
        assert main([*DIFF, "--lang", "tlh"]) == 2
        assert "tlh" in capsys.readouterr().err


class TestSentences:
    def test_a_sentence_is_its_english_text(self):
        assert tr("{count:,} codes of {name} moved", count=1021, name="{x}") == "1,021 codes of {x} moved"
        assert [trn("{number} code", "{number} codes", n) for n in (0, 1, 2)] == ["0 codes", "1 code", "2 codes"]
        assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
        assert listed([str(n) for n in range(5_000)], last="") == ", ".join(map(str, range(5_000)))
        assert sentences("One.", "", "Two.") == "One. Two."
        assert [capitalized(tr(text)) for text in ("a code", "s1 is", "me: x")] == ["A code", "s1 is", "me: x"]

    def test_a_name_at_the_front_of_a_sentence_gets_no_capital(self):
        said = [
            tr("{path} moved", path="c"),
            tr("{name} moved", name=tr("{first}, {rest}", first="c", rest="d")),
            tr("{what} moved", what=tr("the codebook")),
        ]
        assert [capitalized(each) for each in said] == ["c moved", "c, d moved", "The codebook moved"]

    def test_a_name_that_the_translation_puts_at_the_front_gets_no_capital(self):
        language.choose("zh")
        said = tr("no file in {path} could be compared with a base of its version; name it with --base", path="c")
        assert (capitalized(said)[0], localized(capitalized(said))[0]) == ("N", "c")

    def test_blanks_between_a_phrase_and_what_is_around_it_are_those_of_chinese(self):
        language.choose("zh")
        about = tr("about {number}", number=trn("{number} EMA update", "{number} EMA updates", 37))
        assert localized(tr("{name} {updates} away", name="a", updates=about)) == "a 相差大约 37 次 EMA 更新"
        assert localized(tr("{name} {updates} away", name="声 音", updates="次 数")) == "声 音 相差 次 数"

    def test_it_is_said_in_the_language_with_all_that_is_in_it(self):
        said = tr("{message}; did you mean {names}?", message=tr("interrupted"), names=listed(["a", "b"], last="or"))
        assert localized(said) == "interrupted; did you mean a or b?"
        language.choose("zh")
        shown = localized(said)
        assert "已中断" in shown
        assert "或" in shown
        assert not re.search("[a-z]{2}", shown)
        assert localized(trc("word", "identical")) == "相同"

    def test_a_file_of_several_is_not_named_twice(self):
        why = tr(
            "{message}; did you mean {names}?",
            message=tr("{name}: {text}", name="a.pth", text=tr("interrupted")),
            names="b",
        )
        said = could_not_check("diff", "a.pth", why).said
        assert said == "interrupted; did you mean b?"
        language.choose("zh")
        assert localized(said).startswith("已中断")

    def test_a_field_is_shown_as_the_template_says(self, monkeypatch):
        """What is quoted in English is quoted in every language: the quotes show where a name of a file ends."""
        said = tr("{item}: {word!r} is not a token of {share:.1f}", item="a", word="1 ", share=2.0)
        monkeypatch.setattr(language._Language, "catalogue", property(lambda _: _Masked()))
        language.choose("zh")
        assert "'1 '" in localized(said)
        assert "2.0" in localized(said)

    def test_what_is_no_sentence_stays(self):
        language.choose("zh")
        assert localized("What to do") == "What to do"
        assert localized(f"{tr('What to do')}") == "What to do"


class TestOtherProcesses:
    """Sentences that a child hands over in JSON."""

    @pytest.mark.parametrize(
        "said",
        [
            "plain {braces}",
            tr("What to do"),
            trn("{number} code", "{number} codes", 3),
            trc("word", "identical"),
            tr("{name}: {text}", name="{x}", text=trn("{number} code", "{number} codes", 1)),
            tr("{share:.1f} of {names!r}", share=0.25, names="a"),
        ],
    )
    def test_they_stay_what_they_were(self, said):
        came = language.unpacked(json.loads(json.dumps(language.packed(said))))
        assert came == said
        language.choose("zh")
        assert localized(came) == localized(said)

    @pytest.mark.parametrize(
        "value",
        [None, 3, ["a"], ["{x} {y}", {"x": 1}, "", 1, ""], ["{x.y}", {"x": 1}, "", 1, ""], ["a", {}, "", "1", ""]],
    )
    def test_what_is_none_is_shown_as_it_is(self, value):
        found = language.unpacked(value)
        language.choose("zh")
        assert localized(found) == str(value)

    def test_a_template_does_not_steer_the_terminal(self):
        assert "\x1b" not in repr(language.unpacked(["\x1b[2J", {}, "", 1, ""]))[1:-1].replace("\\x1b", "")
        assert not isinstance(language.unpacked(["\x1b[2J{x}", {"x": "a"}, "", 1, ""]), language.Sentence)

    def test_what_json_cannot_hold_is_handed_over_in_english(self):
        assert language.packed(tr("{a}", a=(1, 2))) == "(1, 2)"


class TestFormats:
    @pytest.mark.parametrize("name", ["json", "junit", "sarif", "csv", "github"])
    def test_machines_get_english(self, capsys, name):
        runs = []
        for chosen in ("en", "zh"):
            assert main([*DIFF, "--format", name, "--lang", chosen]) == 1
            runs.append(
                re.sub(r'(timestamp|time)="[^"]*"|"(startTimeUtc|endTimeUtc)": "[^"]*"', "", capsys.readouterr().out)
            )
        assert runs[0].replace("--lang en", "") == runs[1].replace("--lang zh", "")
        assert not re.search("[\u4e00-\u9fff]", runs[1])

    def test_a_failure_is_english_for_machines_and_chinese_for_people(self, capsys):
        assert main(["diff", "nosuch.pth", "nosuch.pth", "--format", "json", "--lang", "zh"]) == 2
        out, errors = capsys.readouterr()
        assert json.loads(out)["error"].isascii()
        assert re.search("[\u4e00-\u9fff]", errors)

    def test_what_click_says_is_english_for_machines_too(self, capsys):
        assert main(["diff", "a", "b", "--no-such", "--format", "json", "--lang", "zh"]) == 2
        assert json.loads(capsys.readouterr().out)["error"].isascii()
        assert main(["diff", "a", "b", "--no-such", "--lang", "zh"]) == 2
        assert "选项" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("encoding", "chinese"), [("utf-8", True), ("gbk", True), ("ascii", False), ("cp1252", False)]
    )
    def test_a_stream_that_cannot_show_it_gets_english(self, monkeypatch, encoding, chinese):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", out)
        assert main([*DIFF, "--lang", "zh"]) == 1
        out.flush()
        shown = out.buffer.getvalue().decode(encoding)
        assert ("码本" in shown, "What to do" in shown) == (chinese, not chinese)

    def test_a_page_names_its_language(self, capsys):
        for chosen, tag in (("en", "en"), ("zh", "zh-Hans")):
            assert main([*DIFF, "--format", "html", "--lang", chosen]) == 1
            page = capsys.readouterr().out
            assert page.count(f'<html lang="{tag}">') == 1
            assert ("&#30721;&#26412;" in page) == (chosen == "zh")  # 码本


class _Masked:
    """A language in which every letter of a template is another one: what is still read was never looked up."""

    def gettext(self, message):
        return "".join(
            re.sub("[A-Za-z]", "\u3007", text)
            + ("" if name is None else "{" + name + (f"!{how}" if how else "") + (f":{spec}" if spec else "") + "}")
            for text, name, spec, how in Formatter().parse(message)
        )

    def ngettext(self, one, many, number):
        return self.gettext(one if number == 1 else many)

    def pgettext(self, _context, message):
        return self.gettext(message)


DRIFT = evidence.EmaUpdates(UpdateOrder.A_TO_B, 37, StepPrecision.EXACT, 37.0, 0.99, 2, 8, (3,), ())
OTHER_SHAPE = evidence.OtherShape((1, 4, 2), (1, 8, 2), "A", 4, True, "")
MOVED = evidence.ProjectionMoved(("w",), 0.1, 0.9)
LOST = evidence.LostByRounding("float16", "B", (1,), (2,), (3, 4))
FOUND = (
    *(evidence.NeverTrained(sides) for sides in (("A",), ("B",), ("A", "B"))),
    DRIFT,
    *(replace(DRIFT, order=order) for order in UpdateOrder),
    *(
        replace(DRIFT, order=order, precision=how, rose=(1, 2), steps_by_decay=(DecaySteps(0.99, 3.2, whole=False),))
        for how in StepPrecision
        for order in (UpdateOrder.A_TO_B, UpdateOrder.UNKNOWN)
    ),
    replace(DRIFT, steps=None, precision=StepPrecision.UNKNOWN, decay=None, unhit=1),
    *(evidence.DeadCodes((1, 2), least, reset) for least, reset in ((2.0, True), (None, False))),
    *(evidence.Initialised(how, 3) for how in ("filled", "emptied", "anew")),
    *(evidence.Permuted(2, 8, follows) for follows in (True, False, None)),
    *(evidence.Edited(how, codes) for how in EditTrace for codes in ((1,), tuple(range(20)))),
    *(evidence.Scaled(factor, 2.0, 2.0) for factor in (2.0, None)),
    *(evidence.Merged(how, weight, (1, 2)) for how in MergeKind for weight in (0.5, None)),
    evidence.ZeroSigns(),
    evidence.Unrelated(0.01),
    OTHER_SHAPE,
    replace(OTHER_SHAPE, part="", shape_b=(2, 8, 3), shared=3, in_place=False, rounded_to="float16"),
    replace(OTHER_SHAPE, part="", shared=0),
    *(replace(MOVED, how=how) for how in ProjectionChange),
    *(kind(("w", "v"), 0.1, 0.9) for kind in (evidence.OtherProjection, evidence.ProjectionBehind)),
    *(evidence.MissingBooks("A", books, 8) for books in ((7,), (5, 6, 7))),
    *(evidence.Rounding("float16", "A", undecided) for undecided in (True, False)),
    evidence.Rounding("bfloat16 and float16", ""),
    *(evidence.WithinAStep("float16", side, ("w", "v", "u"), 1e-3) for side in ("A", "")),
    LOST,
    *(evidence.LastPlaces(ulps, ("w",)) for ulps in (1, 3)),
    *(evidence.NotFinite(sides) for sides in (("A",), ("A", "B"))),
    *(evidence.Unexplained(causes._unexplained(SimpleNamespace(cause=lambda _, found: found), "").why),),
)


class TestNothingIsKeptFromTheCatalogue:
    """What a report shows and nobody can translate: a sentence that was glued together, or never marked."""

    NAMES = frozenset(
        [
            "vqcheck",
            "resume",
            "eval",
            "train",
            "forward",
            "float",
            "half",
            "cuda",
            "torch",
            "python",
            "codebook",
            "html",
            "zip",
            "diff",
        ]
    )
    """Words that are the same in every language."""

    RUNS = (
        DIFF,
        ("diff", "fixtures/checkpoints/base_v2.pth", "fixtures/checkpoints/base_v2.pth"),
        (*DIFF, "fixtures/checkpoints/lora_v3_e2_s50_l32.pth", "fixtures/checkpoints/never_trained_v2.pth"),
        ("inspect", "fixtures/checkpoints/base_v2.pth", "fixtures/checkpoints/G_437.pth"),
        ("inspect", "fixtures/checkpoints/never_trained_v2.pth", "-v"),
        ("lock", "fixtures/checkpoints/base_v2.pth", "-o", "{folder}/vqcheck.lock"),
        ("lock", "--check", "fixtures/checkpoints/base_v2.pth", "-o", "{lock}", "-v"),
        ("lock", "--check", "fixtures/checkpoints/G_437.pth", "-o", "{lock}"),
        ("lock", "--check", "fixtures/checkpoints/lora_v3_e2_s50_l32.pth", "-o", "{lock}"),
        ("extract", "fixtures/checkpoints/base_v2.pth", "-o", "{folder}/vq.safetensors"),
        ("restore", "fixtures/checkpoints/base_v2.pth", "fixtures/checkpoints/G_437.pth", "-o", "{folder}/G_0.pth"),
        ("check", "fixtures/experiment"),
        ("check", "fixtures/checkpoints"),
        ("check", "fixtures/checkpoints/G_437.pth", "--base", "fixtures/checkpoints/base_v2.pth"),
        ("history", "fixtures/checkpoints"),
        ("tokens", "fixtures/checkpoints/base_v2.pth", "fixtures/experiment"),
        ("gate", "fixtures/experiment"),
        ("gate", "--explain", "resume"),
        pytest.param(("replay", "--steps", "2"), marks=pytest.mark.slow, id="replay"),
    )

    @pytest.mark.parametrize("shown", [("--format", "text"), ("--format", "html")], ids=["text", "html"])
    @pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
    def test_of_a_report(self, capsys, monkeypatch, tmp_path, arguments, shown):
        lock = tmp_path / "base.lock"
        if "{lock}" in arguments:
            main(["lock", "fixtures/checkpoints/base_v2.pth", "-o", str(lock), "-q"])
        folders = [tmp_path / "first", tmp_path / "second"]
        for folder in folders:
            folder.mkdir()
        first, arguments = ([each.format(folder=folder, lock=lock) for each in arguments] for folder in folders)
        main([*first, "--format", "json"])
        data = capsys.readouterr().out
        # Names, keys and paths are data, and stay as they are; a sentence in the data is none of them.
        known = {
            word
            for text in _texts(json.loads(data))
            if " " not in text
            for word in re.findall("[a-z]{3,}", text.lower())
        }
        known |= set(arguments)
        monkeypatch.setattr(language._Language, "catalogue", property(lambda _: _Masked()))
        language.choose("zh")
        monkeypatch.setattr("vqcheck.cli.main.asked_language", lambda *_: "zh")
        main([*arguments, *shown])
        out = capsys.readouterr().out
        if shown[1] == "html":
            out = html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", out, flags=re.DOTALL))
        assert sorted(_english(out) - known - self.NAMES) == []

    def test_these_are_all_causes(self):
        assert {type(found) for found in FOUND} == set(evidence.CODE)

    @pytest.mark.parametrize("found", FOUND, ids=lambda found: type(found).__name__)
    def test_of_a_cause(self, monkeypatch, found):
        cause = Cause(Certainty.LIKELY, found, 0, 1)
        training = Training(None, None, 3), Training(None, None, 40)
        family = "gpt-sovits" if isinstance(found, evidence.EmaUpdates) else "rvq"
        diagnosis = Diagnosis(family, (cause, replace(cause, codebook=1)), (), None, training, ())
        advice = advise((cause,), None, family)
        texts = [headline(diagnosis), *(part for line in lines(cause, diagnosis) for part in line)]
        texts += [each.text for each in advice]
        monkeypatch.setattr(language._Language, "catalogue", property(lambda _: _Masked()))
        language.choose("zh")
        assert {word for text in texts for word in _english(localized(text))} == set()


def _english(text):
    return {word.lower() for word in re.findall(r"(?<![\w./\\-])[A-Za-z]{3,}(?![\w/\\(]|\.\w)", text)}


def _texts(value):
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
