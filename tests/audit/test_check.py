"""`check` over GPT-SoVITS folders made of real small files: each question both ways, and what counts in the status."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from vqcheck.audit.check import check_place
from vqcheck.audit.check_result import BaseReason, Missing, PlaceVerdict, Question
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.codebook.comparison import Verdict
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.experiment.place import find_place
from vqcheck.report.views.check import view

FIXTURES = Path(__file__).parents[2] / "fixtures"
CHECKPOINTS = FIXTURES / "checkpoints"
EMBED = "quantizer.vq.layers.0._codebook.embed"


class Tree:
    """A GPT-SoVITS folder."""

    def __init__(self, root):
        self.root = root
        self.base = self.put("base_v2.pth", "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth")

    def put(self, fixture, place):
        target = self.root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKPOINTS / fixture, target)
        return target

    def experiment(self, voice):
        """Add the tokens that base_v2 gives, and their features."""
        folder = self.root / "logs" / voice
        shutil.copytree(FIXTURES / "demo" / "4-cnhubert", folder / "4-cnhubert")
        shutil.copy(FIXTURES / "demo" / "6-name2semantic.tsv", folder)
        return folder

    def frozen(self, voice):
        self.put("frozen_v2_e8_s400.pth", f"SoVITS_weights_v2/{voice}_e8_s400.pth")

    def drifted(self, voice):
        self.put("drifted_v2_e8_s400.pth", f"SoVITS_weights_v2/{voice}_e8_s400.pth")

    def config(self, voice, **model):
        content = {
            "train": {"pretrained_s2G": "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth"},
            "data": {"exp_dir": f"logs/{voice}"},
            "model": {"version": "v2", **model},
            "name": voice,
            "version": "v2",
        }
        file = self.root / "TEMP" / "tmp_s2.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content), "utf-8")

    def check(self, inner="", **options):
        return check_place(find_place(str(self.root / inner)), **options)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "GPT-SoVITS")


def outcomes(voice):
    return {answer.question: answer.outcome for answer in voice.answers}


def missing(voice):
    return {answer.question: answer.missing for answer in voice.answers if answer.missing}


def test_a_frozen_voice_is_fine_by_every_question(tree):
    tree.experiment("me")
    tree.frozen("me")
    tree.put("G_400.pth", "logs/me/logs_s2_v2/G_400.pth")
    tree.put("G_400.pth", "logs/me/logs_s2_v2/D_400.pth")
    tree.put("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt")
    tree.config("me", freeze_quantizer=True)
    result = tree.check()
    (voice,) = result.voices
    assert outcomes(voice) | {Question.LOCK: None} == dict.fromkeys(Question, CheckOutcome.PASSED) | {
        Question.LOCK: None
    }
    assert missing(voice) == {Question.LOCK: Missing.LOCK}
    assert (voice.name, voice.version, voice.base.reason) == ("me", "v2", BaseReason.CONFIGURATION)
    assert (result.verdict, result.exit_code) == (PlaceVerdict.FINE, 0)


def test_a_drifted_voice_fails_and_the_base_decides_over_tokens_that_agree_with_both(tree):
    """37 updates flip one of the frames here, so the tokens alone contradict neither file."""
    tree.experiment("me")
    tree.drifted("me")
    tree.put("G_437.pth", "logs/me/logs_s2_v2/G_437.pth")
    tree.put("G_437.pth", "logs/me/logs_s2_v2/D_437.pth")
    tree.put("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt")
    tree.config("me", freeze_quantizer=False)
    result = tree.check()
    (voice,) = result.voices
    assert outcomes(voice) == {
        Question.BASE: CheckOutcome.FAILED,
        Question.TOKENS: CheckOutcome.PASSED,
        Question.S1_S2: CheckOutcome.FAILED,
        Question.LOCK: CheckOutcome.NOT_APPLICABLE,
        Question.HEALTH: CheckOutcome.PASSED,
        Question.RESUME: CheckOutcome.FAILED,
        Question.FREEZE: CheckOutcome.FAILED,
    }
    base, moved = (torch.load(file, weights_only=False) for file in (tree.base, CHECKPOINTS / "G_437.pth"))
    assert not torch.equal(base["weight"][EMBED].float(), moved["model"][EMBED])
    assert voice.newest.from_base.ema_steps == 37
    assert voice.flips.flipped == 1
    assert result.exit_code == 1


def test_a_drift_is_harmless_once_tokens_and_s1_were_made_again(tree, vqcheck):
    """The lock says so, as it does to `diff` of s1 and s2; one that binds no s1, or another one, does not."""
    folder = tree.experiment("me")
    tree.drifted("me")
    tree.put("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt")
    s1 = tree.root / "GPT_weights_v2" / "me-e15.ckpt"
    content = torch.load(s1, weights_only=False)
    content["config"] = {"train_semantic_path": "logs/me/6-name2semantic.tsv"}
    torch.save(content, s1)
    s2 = tree.root / "SoVITS_weights_v2" / "me_e8_s400.pth"
    assert tree.check().exit_code == 1
    lock = ("lock", s2, "--experiment", folder, "--update")
    assert vqcheck(*lock).returncode == 0
    assert tree.check().exit_code == 1
    assert vqcheck(*lock, "--s1", s1).returncode == 0
    result = tree.check()
    assert (result.exit_code, result.voices[0].made_again) == (0, True)
    assert "were made again with it" in view(result).headline
    assert not view(result).remedies
    s1.write_bytes((CHECKPOINTS / "lightning_s1.ckpt").read_bytes())
    assert tree.check().exit_code != 0


def test_tokens_that_a_drifted_file_made_are_to_be_locked(tree):
    """Nothing but the lock says that they were made again, so the advice is to make one."""
    folder = tree.experiment("me")
    tree.put("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt")
    file = tree.put("G_437.pth", "logs/me/logs_s2_v2/G_437.pth")
    assert not any("vqcheck lock" in remedy.text for remedy in view(tree.check()).remedies)
    content = torch.load(file, weights_only=True)
    state, draw = content["model"], torch.Generator().manual_seed(0)
    state[EMBED] += 0.2 * torch.randn(state[EMBED].shape, generator=draw)
    torch.save(content, file)
    rows = ["item_name\tsemantic_audio"]
    for features in sorted((folder / "4-cnhubert").glob("*.pt")):
        stored = torch.load(features, weights_only=True).detach().float()
        frames = torch.nn.functional.conv1d(stored, state["ssl_proj.weight"], state["ssl_proj.bias"], stride=2)[0].T
        tokens = torch.cdist(frames, state[EMBED]).argmin(-1).tolist()
        rows.append(f"{features.stem}\t{' '.join(map(str, tokens))}")
    (folder / "6-name2semantic.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    result = tree.check()
    assert outcomes(result.voices[0])[Question.S1_S2] is CheckOutcome.PASSED
    assert result.exit_code == 1
    assert any("vqcheck lock" in remedy.text for remedy in view(result).remedies)


def test_advice_about_the_next_training_does_not_make_a_voice_affected(tree):
    tree.frozen("me")
    tree.config("me", freeze_quantizer=False)
    result = tree.check()
    assert outcomes(result.voices[0])[Question.FREEZE] is CheckOutcome.FAILED
    assert result.exit_code == 0


def test_one_affected_voice_among_others_is_one(tree):
    tree.frozen("you")
    tree.drifted("me")
    result = tree.check()
    assert [(voice.name, voice.exit_code) for voice in result.voices] == [("me", 1), ("you", 0)]
    assert [voice.name for voice in result.affected] == ["me"]
    assert result.exit_code == 1


def test_a_file_that_cannot_be_read_is_two_whatever_the_others_are(tree):
    tree.drifted("me")
    (tree.root / "SoVITS_weights_v2" / "you_e1_s1.pth").write_bytes(b"PK\3\4 cut off")
    result = tree.check()
    assert [Path(file).name for file, _ in result.unreadable] == ["you_e1_s1.pth"]
    assert result.exit_code == 2


def test_no_base_at_all_is_two(tree):
    tree.frozen("me")
    tree.base.unlink()
    result = tree.check()
    assert missing(result.voices[0])[Question.BASE] is Missing.BASE
    assert result.exit_code == 2


def test_a_base_of_another_version_is_not_compared(tree):
    """A voice without its base is told and does not count, as long as another one was compared."""
    tree.frozen("me")
    tree.put("sovits_v2pro_e2_s100.pth", "SoVITS_weights_v2Pro/pro_e2_s100.pth")
    result = tree.check()
    by_name = {voice.name: voice for voice in result.voices}
    assert missing(by_name["pro"])[Question.BASE] is Missing.BASE
    assert by_name["me"].compared
    assert result.exit_code == 0


def test_files_from_around_do_not_answer_for_the_place(tree):
    """A weights folder whose files have no base here is not fine because training files of the same voice are."""
    tree.put("G_400.pth", "logs/me/logs_s2_v2/G_400.pth")
    pro = tree.put("sovits_v2pro_e2_s100.pth", "SoVITS_weights_v2Pro/me_e2_s100.pth")
    for place in (pro.parent, pro):
        result = check_place(find_place(str(place)))
        assert result.exit_code == 2, place
    assert "no file in" in view(check_place(find_place(str(pro.parent)))).headline
    assert check_place(find_place(str(pro.parent)), bases=[str(tree.base)]).exit_code == 0
    whole = tree.check()
    assert whole.exit_code == 0
    assert view(whole).headline == "0 of 2 voices are affected, 1 was not compared with a base"


def test_a_voice_whose_file_cannot_be_read_is_not_said_to_have_none(tree):
    tree.frozen("me")
    tree.experiment("broken")
    file = tree.put("G_400.pth", "logs/broken/logs_s2_v2/G_400.pth")
    file.write_bytes(file.read_bytes()[:3000])
    tree.experiment("new")
    voices = {voice.name: voice for voice in tree.check().voices}
    assert missing(voices["broken"])[Question.BASE] is Missing.READABLE
    assert missing(voices["new"])[Question.BASE] is Missing.GENERATOR


def test_the_base_that_the_configuration_names_counts_for_tokens_without_a_model(tree, tmp_path, monkeypatch):
    """Outside a GPT-SoVITS folder, too: the path counts from the working directory, as in the gate."""
    folder = tmp_path / "elsewhere" / "me"
    shutil.copytree(tree.experiment("me"), folder)
    monkeypatch.chdir(tree.root)
    tree.config("me")
    shutil.copy(tree.root / "TEMP" / "tmp_s2.json", folder / "s2.json")
    result = check_place(find_place(str(folder)))
    assert [Path(base).name for base in result.bases] == ["s2G2333k.pth"]
    assert outcomes(result.voices[0])[Question.TOKENS] is CheckOutcome.PASSED
    assert result.exit_code == 2  # no s2 file is here


def test_a_configuration_of_another_version_names_no_base(tree):
    """The web page keeps one JSON, that of the last run: here v2's, beside LoRA weights of v3."""
    tree.put("lora_v3_e2_s50_l32.pth", "SoVITS_weights_v3/me_e2_s50_l32.pth")
    tree.frozen("me")
    tree.config("me", freeze_quantizer=True)
    v2, v3 = tree.check().voices
    assert (v2.version, v2.compared) == ("v2", True)
    assert (v3.version, v3.rank, v3.base) == ("v3", "32", None)


def test_of_several_given_bases_the_nearest_is_the_one_with_the_evidence(tree, tmp_path):
    other = tmp_path / "other.pth"
    content = torch.load(tree.base, weights_only=False)
    draw = torch.Generator().manual_seed(1)
    for name in (EMBED, f"{EMBED}_avg", EMBED.replace("embed", "cluster_size")):
        stored = content["weight"][name]
        content["weight"][name] = (1 + torch.rand(stored.shape, generator=draw)).to(stored.dtype)
    torch.save(content, other)
    tree.drifted("me")
    result = tree.check(bases=[str(other), str(tree.base)])
    choice = result.voices[0].base
    assert (choice.path, choice.reason) == (str(tree.base), BaseReason.NEAREST)
    assert [candidate.path for candidate in choice.candidates] == [str(tree.base), str(other)]
    assert choice.candidates[0].ema_steps == 37
    assert (choice.candidates[1].verdict, choice.candidates[1].ema_steps) == (Verdict.CHANGED, None)


def test_a_base_that_the_user_named_must_be_readable(tree, tmp_path):
    tree.frozen("me")
    broken = tmp_path / "base.pth"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"base\.pth"):
        tree.check(bases=[str(broken)])


def test_tokens_of_another_codebook_are_found(tree):
    folder = tree.experiment("me")
    tree.frozen("me")
    tsv = folder / "6-name2semantic.tsv"
    head, *rows = tsv.read_text("utf-8").splitlines()
    spoilt = [
        f"{name}\t{' '.join(str((int(token) + 1) % 1024) for token in tokens.split())}"
        for name, tokens in (row.split("\t") for row in rows)
    ]
    tsv.write_text("\n".join([head, *spoilt]) + "\n", "utf-8")
    result = tree.check()
    assert outcomes(result.voices[0])[Question.TOKENS] is CheckOutcome.FAILED
    assert result.exit_code == 1


def test_a_codebook_that_was_never_trained_fails_its_health(tree):
    tree.put("never_trained_v2.pth", "SoVITS_weights_v2/me_e1_s1.pth")
    result = tree.check()
    assert outcomes(result.voices[0])[Question.HEALTH] is CheckOutcome.FAILED
    assert result.exit_code == 1


def test_a_folder_of_loose_files_has_its_base_among_them(tmp_path):
    for fixture, name in (("base_v2.pth", "s2G2333k.pth"), ("drifted_v2_e8_s400.pth", "me_e8_s400.pth")):
        shutil.copy(CHECKPOINTS / fixture, tmp_path / name)
    result = check_place(find_place(str(tmp_path)))
    assert [Path(base).name for base in result.bases] == ["s2G2333k.pth"]
    assert [(voice.name, voice.exit_code) for voice in result.voices] == [("me", 1)]


@pytest.fixture
def folder(tmp_path):
    """A folder of none of GPT-SoVITS's layouts, with a training file that drifted."""
    shutil.copy(CHECKPOINTS / "G_437.pth", tmp_path)
    return tmp_path


def copied(file, name):
    """Save the weights of a training file alone, so that nothing says where they are from."""
    target = file.parent / name
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.load(file, weights_only=True)["model"]}, target)


def test_a_copy_of_a_drifted_file_is_no_base_beside_the_true_one(folder):
    copied(folder / "G_437.pth", "me.pth")
    shutil.copy(CHECKPOINTS / "base_v2.pth", folder / "s2G2333k.pth")
    (voice,) = check_place(find_place(str(folder))).voices
    assert (voice.base.reason, voice.exit_code) == (BaseReason.UNDECIDED, 2)
    assert "me.pth, s2G2333k.pth: each may be the base" in voice.answer(Question.BASE).message


def test_a_copy_of_a_drifted_file_is_no_base_of_it(folder):
    copied(folder / "G_437.pth", "me.pth")
    (voice,) = check_place(find_place(str(folder))).voices
    assert (voice.base.reason, voice.exit_code) == (BaseReason.UNDECIDED, 2)
    assert "me.pth: may be the base, or a copy" in voice.answer(Question.BASE).message


@pytest.mark.parametrize("bases", [1, 2])
def test_a_base_under_any_name_counts_where_it_is_stored_narrower(tmp_path, bases):
    shutil.copy(CHECKPOINTS / "G_400.pth", tmp_path)
    for number in range(bases):
        shutil.copy(CHECKPOINTS / "base_v2.pth", tmp_path / f"start{number}.pth")
    (voice,) = check_place(find_place(str(tmp_path))).voices
    assert voice.exit_code == 0


def test_a_base_that_the_user_names_may_be_a_copy(folder):
    copied(folder / "G_437.pth", "me.pth")
    (voice,) = check_place(find_place(str(folder)), bases=[str(folder / "me.pth")]).voices
    assert (voice.base.reason, voice.exit_code) == (BaseReason.OPTION, 0)


def test_a_copy_of_a_drifted_file_among_the_exports_is_a_voice(tree):
    drifted = tree.put("G_437.pth", "SoVITS_weights_v2/G_437.pth")
    copied(drifted, "me.pth")
    drifted.unlink()
    tree.drifted("me")
    (voice,) = tree.check().voices
    assert (voice.name, voice.base.path, voice.exit_code) == ("me", str(tree.base), 1)
    assert [row.name for row in voice.run.rows if row.moved] == ["me.pth", "me_e8_s400.pth"]
    tree.base.unlink()
    assert tree.check().exit_code == 2


def test_a_copy_of_a_drifted_file_in_a_folder_of_the_tree_is_a_voice(tree):
    drifted = tree.put("G_437.pth", "kept/G_437.pth")
    copied(drifted, "me.pth")
    copied(drifted, "../SoVITS_weights_v2/nobody.pth")
    assert {voice.name: voice.exit_code for voice in tree.check("kept").voices} == {"G_437": 1, "me": 1}


def test_a_place_without_any_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no checkpoint of a voice"):
        check_place(find_place(str(tmp_path)))


def test_the_number_of_readers_changes_nothing(tree):
    tree.frozen("you")
    tree.drifted("me")
    one, many = tree.check(jobs=1), tree.check(jobs=8)
    assert one == many


def test_what_passes_by_tokens_says_what_they_could_not_show(tree, valid, vqcheck):
    """The text and the JSON; a failure has no power."""
    tree.experiment("me")
    tree.frozen("me")
    document = valid(vqcheck("check", tree.root, "--format", "json").stdout)
    answers = {answer["question"]: answer for answer in document["voices"][0]["answers"]}
    power = answers["tokens"]["power"]
    assert (power["frames"], "would have gone unnoticed" in answers["tokens"]["message"]) == (240, True)
    assert (1 - power["share"]) ** 240 <= 0.0501
    assert answers["base"]["power"] is None


def test_the_effect_of_a_drift_is_named_before_it_is_counted(tree, valid, vqcheck):
    """1 of 240 frames is a small effect; `diff` says the same of the same files."""
    folder = tree.experiment("me")
    tree.drifted("me")
    document = valid(vqcheck("check", tree.root, "--format", "json").stdout)
    assert document["voices"][0]["effect"] == {"frames": 240, "flipped": 1, "severity": "small"}
    pair = tree.base, tree.root / "SoVITS_weights_v2" / "me_e8_s400.pth"
    beside = valid(vqcheck("diff", *pair, "--features", folder, "--format", "json").stdout)
    assert beside["diagnosis"]["consequence"]["token_flips"]["severity"] == "small"
    assert "small effect: 0.4 %" in vqcheck("check", tree.root).stdout


def test_features_of_other_recordings_say_nothing_of_s1_and_s2(tree):
    """The tokens fail by their lengths; whether the stages belong together is not asked then."""
    folder = tree.experiment("me")
    tree.frozen("me")
    tree.put("gpt-e15.ckpt", "GPT_weights_v2/me-e15.ckpt")
    tsv = folder / "6-name2semantic.tsv"
    lines = tsv.read_text().splitlines()
    tsv.write_text("\n".join([*lines[:-1], lines[-1] + " 1 2 3"]) + "\n")
    result = tree.check()
    (voice,) = result.voices
    assert (result.exit_code, outcomes(voice)[Question.TOKENS]) == (1, CheckOutcome.FAILED)
    assert missing(voice)[Question.S1_S2] is Missing.RECORDINGS
    document = view(result)
    assert "other recordings" in document.headline
    assert "mean something else" not in str(document.blocks)
