"""Every report on terminals of any width, with and without colour: nothing is cut, no colour says what no word says."""

import dataclasses
import os
import re
import struct
from collections import Counter

import pytest
import torch
from rich.cells import cell_len

from vqcheck import compare, open_checkpoint
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.history import read_history
from vqcheck.audit.make_lock import make_lock
from vqcheck.audit.planned_run import PlannedRun
from vqcheck.audit.s1_s2_consistency import compare_stages
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import InspectedFiles
from vqcheck.experiment.config_file import read_s2_run
from vqcheck.gate.checks import CHECKS
from vqcheck.gate.run import run_gate
from vqcheck.report.blocks import Column, Fact, Facts, Kind, Paragraph, Section, Shown, Table
from vqcheck.report.document import Document, Status
from vqcheck.report.render.text import Style, render
from vqcheck.report.views import diff, gate, history, lock, lock_check, s1_s2, tokens
from vqcheck.report.views import inspect as inspection

CODEBOOK = "quantizer.vq.layers.0._codebook"
LONG = "a_very_long_checkpoint_name_that_somebody_gave_to_their_voice_model_v2Pro_final_e8_s400.pth"
CHINESE = "语音模型_我的声音_第八轮训练_最终版本_e8_s400.pth"
WIDTHS = (60, 80, 120)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def residual(layers, moved=0.0):
    """Return a residual codec with so many layers."""
    state = {}
    for layer in range(layers):
        generator = torch.Generator().manual_seed(layer)
        path = f"quantizer.vq.layers.{layer}._codebook"
        codes = torch.randn(8, 4, generator=generator)
        state |= {f"{path}.inited": torch.ones(1), f"{path}.cluster_size": torch.full((8,), 9.0)}
        state |= {f"{path}.embed": codes + moved, f"{path}.embed_avg": 9 * codes}
    return state


@pytest.fixture(scope="module")
def files(checkpoints, tmp_path_factory):
    """Copies of fixture files under long and Chinese names, and residual codecs of 32 codebooks."""
    folder = tmp_path_factory.mktemp("files")
    for name, source in (
        ("base.pth", "base_v2.pth"),
        (LONG, "G_437.pth"),
        (CHINESE, "drifted_v2_e8_s400.pth"),
        ("G_400.pth", "G_400.pth"),
    ):
        (folder / name).write_bytes((checkpoints / source).read_bytes())
    others = folder / "others"
    others.mkdir()
    torch.save(residual(32), others / "residual.pth")
    torch.save(residual(32, moved=0.1), others / "moved.pth")
    torch.save(residual(20), others / "fewer.pth")
    (folder / "broken_名字.pth").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def reports(files, checkpoints):
    """Every document by name."""

    def compared(a, b):
        with open_checkpoint(a) as first, open_checkpoint(b) as second:
            return compare(first, second)

    def inspected(path):
        with open_checkpoint(path) as file:
            return inspect(file)

    base, others = files / "base.pth", files / "others"
    found = {}
    for name, path in {
        "inspect": files / LONG,
        "inspect chinese": files / CHINESE,
        "inspect never trained": checkpoints / "never_trained_v2.pth",
        "inspect residual": others / "residual.pth",
        "inspect s1": checkpoints / "gpt-e15.ckpt",
    }.items():
        found[name] = inspection.view(InspectedFiles((inspected(path),)))
    for name, pair in {
        "diff": (base, files / LONG),
        "diff chinese": (files / LONG, files / CHINESE),
        "diff equal": (base, files / "G_400.pth"),
        "diff never trained": (base, checkpoints / "never_trained_v2.pth"),
        "diff lora": (base, checkpoints / "lora_v3_e2_s50_l32.pth"),
        "diff residual": (others / "residual.pth", others / "moved.pth"),
        "diff fewer": (others / "residual.pth", others / "fewer.pth"),
    }.items():
        found[name] = diff.view(compared(*pair))
    found["history"] = history.view(read_history(str(files), "all"))
    with open_checkpoint(base) as file:
        made = make_lock(file, None, None)
    for name, path in (("lock agrees", files / "G_400.pth"), ("lock differs", files / CHINESE)):
        with open_checkpoint(path) as file:
            result = check_lock(made, str(files / "vqcheck.lock"), file, None, None, "all")
        found[name] = lock_check.checked(result)
    found["lock written"] = lock.written(made, str(files / "vqcheck.lock"), "written")
    return found | {f"gate --explain {check.code}": gate.explanation(check) for check in CHECKS}


@pytest.fixture
def experiment_reports(sound):
    """The reports that need an experiment: tokens, gate and stages, passed and failed."""
    for item in (CHINESE, LONG):
        with sound.tsv.open("a", encoding="utf-8") as tsv:
            tsv.write(f"{item}.wav\t1 2 3\n")
    with open_checkpoint(sound.base) as file:
        audit = audit_tokens(file, str(sound.folder))
        joined = compare_stages(str(sound.s1), file, str(sound.folder))
    passed = run_gate(PlannedRun(read_s2_run(str(sound.config), None), None, str(sound.s1), None), (), ())
    sound.tsv.write_text(sound.tsv.read_text(encoding="utf-8").replace(" 1", " 2"), encoding="utf-8")
    with open_checkpoint(sound.base) as file:
        wrong = audit_tokens(file, str(sound.folder))
    assert (audit.exit_code, wrong.exit_code) == (0, 1)
    sound.write(model__freeze_quantizer=False)
    failed = run_gate(PlannedRun(read_s2_run(str(sound.config), None), None, None, None), (), ())
    return {
        "tokens": tokens.view(TokenDecision(audit, wrong)),
        "tokens inconsistent": tokens.view(TokenDecision(wrong, audit)),
        "gate": gate.view(passed),
        "gate failed": gate.view(failed),
        "stages": s1_s2.view(joined),
    }


def require_sound(name, document, style):
    """Fail when a line is too wide, a word is cut that fits a line, or colour says what no word says."""
    plain, coloured = render(document, style), render(document, dataclasses.replace(style, color=True))
    assert ESCAPE.sub("", coloured) == plain, name
    lines = plain.splitlines()
    assert [line for line in lines if cell_len(line) > style.width] == [], name
    assert [line for line in lines if line != line.rstrip()] == [], name
    whole = render(document, dataclasses.replace(style, width=0))
    short = {word for word in whole.split() if cell_len(word) <= 20}
    assert short - set(plain.split()) == set(), name
    # Where there is no room for columns, their titles stand with every row; nothing is ever lost.
    assert Counter("".join(whole.split())) - Counter("".join(plain.split())) == Counter(), name


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_report_fits_the_terminal(reports, width, verbose):
    """At every width: no line is wider, no word that fits is cut, and without colour the same is said."""
    for name, document in reports.items():
        require_sound(name, document, Style(width=width, verbose=verbose))


def test_every_report_on_an_experiment_fits_the_terminal(experiment_reports):
    """The same for tokens, gate and stages."""
    for width in WIDTHS:
        for name, document in experiment_reports.items():
            require_sound(name, document, Style(width=width))


def columns_of_digests(text):
    """Return in how many columns digests begin, for each table of a history."""
    tables = []
    for part in text.split("\n\n"):
        lines = [(line, re.search(r"[0-9a-f]{12}(?= |$)", line)) for line in part.splitlines()]
        tables.append({cell_len(line[: match.start()]) for line, match in lines if match})
    return [len(at) for at in tables if at]


def test_columns_of_a_history_are_aligned_below_chinese_names(reports):
    """In the table of each voice, every digest begins in the same column, counted as a terminal counts."""
    for width in (0, *WIDTHS):
        assert columns_of_digests(render(reports["history"], Style(width=width))) == [1, 1, 1], width


def test_columns_of_a_diff_are_aligned(reports):
    """Verdicts begin in one column, whatever the labels; many codebooks take one row for each role."""
    lines = render(reports["diff residual"], Style(width=80)).splitlines()
    rows = [line for line in lines if line.startswith("  0..31 ")]
    assert [line.split()[1] for line in rows] == ["codes", "ema_sum", "ema_count", "init_flag"]
    assert len({re.search(r"  (changed|identical) ", line).start() for line in rows}) == 1
    verbose = render(reports["diff residual"], Style(width=80, verbose=True))
    assert len(re.findall(r"(?m)\b\d+ codes$", verbose)) == 32


def test_a_codebook_that_is_not_there_is_said_once_on_top(reports):
    """The headline names how many, the evidence which, and what is left of use."""
    text = " ".join(render(reports["diff fewer"], Style()).split())
    assert text.startswith("changed B lacks 12 of the 32 codebooks that A stores.")
    assert "A stores codebooks 20..31, B does not." in text
    assert "20..31 codes missing 12 tensors" in text


def test_a_single_value_stands_nowhere(vq_state, save):
    """A change of a flag has no place `[]` in the tensor."""
    state = vq_state()
    a = save(state, "a.pth")
    state[f"{CODEBOOK}.inited"] = torch.zeros(1)
    with open_checkpoint(a) as first, open_checkpoint(save(state, "b.pth")) as second:
        text = render(diff.view(compare(first, second)), Style(verbose=True))
    assert "max |b-a| 1; max |b-a|/|a| 1  " in text
    assert "[]" not in text


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((None, 437), "B says it was written at step 437."),
        ((None, 37), "B says it was written at step 37: the codebook moved at every one of these steps."),
        ((400, 437), "A says it was written at step 400, B at step 437: the codebook moved at every one of these"),
        ((400, 600), "A says it was written at step 400, B at step 600."),
        ((437, 437), "Both files say they were written at step 437."),
    ],
)
def test_the_files_own_steps_are_told_of_both(checkpoints, steps, sentence):
    """Each file's step is told as that file's, and the steps between are counted only where both are known."""
    with open_checkpoint(checkpoints / "base_v2.pth") as a, open_checkpoint(checkpoints / "G_437.pth") as b:
        comparison = compare(a, b)
    training = tuple(
        dataclasses.replace(found, steps=step) for found, step in zip(comparison.diagnosis.training, steps, strict=True)
    )
    changed = dataclasses.replace(comparison.diagnosis, training=training)
    text = render(diff.view(dataclasses.replace(comparison, diagnosis=changed)), Style())
    assert sentence in " ".join(text.split())


def test_health_counts_each_code_once(reports):
    """A dead code is not in use: the numbers add up."""
    text = " ".join(render(reports["inspect"], Style()).split())
    assert "128 codes: 126 in use, 2 dead (count below 2), perplexity 115; sums and counts fit the codes" in text


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1", "utf-8"])
def test_a_stream_that_cannot_show_a_name_still_has_columns(reports, encoding):
    """Escaped names are measured as they are shown, so that lines fit and columns stay aligned."""
    for name, document in reports.items():
        for width in WIDTHS:
            text = render(document, Style(width=width, encoding=encoding))
            text.encode(encoding)
            assert [line for line in text.splitlines() if cell_len(line) > width] == [], name
    assert columns_of_digests(render(reports["history"], Style(encoding=encoding))) == [1, 1, 1]


@pytest.fixture
def in_terminal(warm):
    """Returns what a command writes on a terminal of its own, as it is written."""
    pty, termios, fcntl = (pytest.importorskip(name) for name in ("pty", "termios", "fcntl"))

    def run(arguments, columns, **environment):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        usual = {**dict.fromkeys(("NO_COLOR", "COLUMNS")), "TERM": "xterm", **environment}
        needs = ["torch"] if arguments[0] == "replay" else []
        process = warm(*needs).start(*arguments, env=usual, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        written = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            written += piece
        os.close(master)
        process.wait()
        return written.decode().replace("\r\n", "\n")

    return run


def test_no_color_and_dumb_terminals_say_the_same(checkpoints, in_terminal):
    """On a real terminal: colour by default, no escape at all with NO_COLOR or TERM=dumb, and the same text."""
    arguments = ["diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth"]
    coloured = in_terminal(arguments, 80)
    assert "\x1b[1;31m\N{BALLOT X} changed" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert in_terminal(arguments, 80, **environment) == ESCAPE.sub("", coloured)


@pytest.mark.parametrize(
    ("encoding", "good", "bad", "unclear"),
    [
        ("utf-8", "\N{CHECK MARK} ", "\N{BALLOT X} ", "! "),
        ("gbk", "\N{SQUARE ROOT} ", "\N{MULTIPLICATION SIGN} ", "! "),
        ("cp1252", "", "", ""),
        ("ascii", "", "", ""),
    ],
)
def test_a_sign_stands_in_front_of_the_verdict_where_the_terminal_can_show_it(encoding, good, bad, unclear):
    """All of one set or none; a pipe has the word alone."""
    for status, sign in ((Status.CONSISTENT, good), (Status.INCONSISTENT, bad), (Status.NOT_CHECKED, unclear)):
        short = dataclasses.replace(document(), status=status)
        long = dataclasses.replace(document(Paragraph("something")), status=status)
        for each in (short, long):
            on_terminal = render(each, Style(width=80, signs=True, encoding=encoding)).splitlines()
            in_a_pipe = render(each, Style(encoding=encoding)).splitlines()
            assert on_terminal == [f"{sign}identical  same", *in_a_pipe[1:]]
            assert in_a_pipe[0] == "identical  same"


def test_a_history_keeps_its_columns_on_eighty_columns(reports):
    """However long the names, and with spans of epochs and steps: they are broken between their parts."""
    columns = (
        Column("Checkpoint", Kind.NAME),
        *(Column(title, Kind.NUMBER) for title in ("Epoch", "Step")),
        Column("VQ encoder"),
        Column("Moved", Kind.NUMBER),
        Column("EMA updates"),
    )
    row = (LONG, "1 .. 25", "400 .. 23400", "a999277e57d9", "0.0222", "at least 37")
    lines = render(
        document(Section("", (Section("", (Table("", columns, [row, row]),)),))), Style(width=80)
    ).splitlines()
    assert {line.index("a999277e57d9") for line in lines if "a999277e57d9" in line} == {lines[2].index("VQ encoder")}
    names = [line.split()[0] for line in lines[3:]]
    assert "".join(names) == LONG * 2
    assert all(name.endswith(("_", "pth")) for name in names)
    assert columns_of_digests(render(reports["history"], Style(width=60))) == [1, 1, 1]


@pytest.mark.slow
def test_the_live_view_of_a_replay_is_drawn_only_where_it_can_be(in_terminal):
    """A terminal sees arms move on; a dumb one gets the summary alone, and no escape."""
    arguments = ["replay", "--strategy", "maybe-no-grad", "--steps", "2"]
    drawn = in_terminal(arguments, 80)
    assert "0/2 waiting" in ESCAPE.sub("", drawn)
    plain = in_terminal(arguments, 80, TERM="dumb")
    assert "waiting" not in plain
    assert "\x1b" not in plain
    assert plain.startswith("replay: 2 arms of 2 steps")
    assert "\N{CHECK MARK} as expected  the codebook drifts under none; it is bit-identical under\n" in plain


def document(*blocks, **more):
    return Document("diff", Status.CONSISTENT, "identical", "same", "", (), {}, blocks=blocks, **more)


def test_words_stay_whole_where_they_fit_and_a_long_one_is_cut_where_it_must():
    """By columns, not by characters: a Chinese one takes two. A continued line stands under the text, not the label."""
    facts = Facts((Fact("A", f"the file {CHINESE}"), Fact("longer", "one two three four five six")))
    lines = render(document(facts), Style(width=30)).splitlines()[2:]
    assert all(cell_len(line) <= 30 for line in lines)
    assert "".join("".join(lines).split()) == f"Athefile{CHINESE}longeronetwothreefourfivesix"
    assert lines[-2:] == ["  longer  one two three four", "          five six"]


def test_in_a_pipe_no_word_is_cut_and_only_sentences_are_broken():
    """A path stays one word and a fact one line, so that they can be searched for."""
    path = "/home/somebody/" + "a_long_folder/" * 9
    sentence = f"Look into {path} for what was written there and then once more."
    text = render(document(Paragraph(sentence), Facts((Fact("A", sentence),))), Style())
    assert f"  A  {sentence}" in text.splitlines()
    assert path in text.splitlines()[3]
    assert not any(path in line and len(line.split()) > 2 for line in text.splitlines()[:5])


def test_a_table_without_room_stands_row_by_row():
    """Each cell with its title; a column of which nothing is known is left out."""
    columns = (Column("Item"), Column("Empty"), Column("A title", Kind.NUMBER), Column("Words", Kind.PROSE))
    table = Table("", columns, [("x" * 18, "", "12", "some words"), ("y", "", "7", "")])
    assert render(document(table), Style(width=30)).splitlines()[2:] == [
        "  Item     " + "x" * 18,
        "    A title  12",
        "    Words    some words",
        "  Item     y",
        "    A title  7",
    ]
    assert render(document(table), Style(width=60)).splitlines()[2].split() == ["Item", "A", "title", "Words"]


@pytest.mark.parametrize("width", [1, 7, 20, 33])
def test_any_width_ends(reports, width):
    """However narrow: a report is made, and nothing is lost."""
    for name in ("diff chinese", "history", "inspect residual"):
        found = render(reports[name], Style(width=width))
        assert max(map(cell_len, found.splitlines())) <= max(width, 20)


@pytest.mark.parametrize(("verbose", "seen"), [(False, "brief"), (True, "verbose")])
def test_what_is_shown_without_v_and_with_it(verbose, seen):
    """By blocks, facts and columns alike; a section of which nothing is shown has no heading."""
    facts = Facts((Fact("fact", "brief", Shown.BRIEF), Fact("fact", "verbose", Shown.VERBOSE)))
    columns = (Column("a"), Column("b", shown=Shown.BRIEF), Column("c", shown=Shown.VERBOSE))
    table = Table("", columns, [("row", "brief", "verbose")])
    page = Section("page", (Paragraph("page", Shown.PAGE),))
    text = render(document(facts, table, page, brief="in brief"), Style(verbose=verbose))
    assert text.startswith("identical  same" if verbose else "identical  in brief")
    assert set(text.split()) & {"brief", "verbose", "page"} == {seen}
    assert ("c" in text.split()) == verbose


@pytest.mark.parametrize("width", [40, 60, 100])
def test_columns_that_can_be_broken_share_what_room_there_is(width):
    """Each cell stays in its column, counted as a terminal counts; numbers end in one column."""
    columns = (Column("Name", Kind.NAME), Column("n", Kind.NUMBER), Column("Words", Kind.PROSE))
    rows = [(CHINESE, "7", "a few words that go on for a while"), ("x", "1234", "b " * 40)]
    lines = render(document(Table("", columns, rows)), Style(width=width)).splitlines()[2:]
    assert all(cell_len(line) <= width for line in lines)
    if "n" in lines[0].split():
        end = cell_len(lines[0][: re.search(r" n ", lines[0]).end() - 1])
        numbers = [line for line in lines if re.search(r" (7|1234) ", line)]
        assert [cell_len(line[: re.search(r" (7|1234) ", line).end() - 1]) for line in numbers] == [end, end]
    assert Counter("".join("".join(lines).split())) >= Counter(f"{CHINESE}7afewwordsthatgoonforawhilex1234{'b' * 40}")
