"""A lock records the VQ encoder once; every later file agrees with it exactly if it holds the same values."""

import shutil
from dataclasses import replace

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.audit.bound_files import file_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.lock import read_lock
from vqcheck.audit.make_lock import make_lock, renamed_from
from vqcheck.cli.main import main
from vqcheck.codebook.digest import F16V1, F32V1
from vqcheck.errors import UsageError

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def lock(tmp_path):
    """Writes the lock of a checkpoint and returns it as read back."""

    def make(checkpoint, experiment=None, s1=None):
        path = tmp_path / "vqcheck.lock"
        with open_checkpoint(checkpoint) as file:
            made = make_lock(file, experiment, [s1] if isinstance(s1, str) else s1)
        path.write_text(made.text(), encoding="utf-8")
        read = read_lock(str(path))
        assert read.text() == made.text()
        return read

    return make


def check(lock, path, experiment=None, s1=None, scope="all"):
    with open_checkpoint(path) as file:
        return check_lock(lock, "vqcheck.lock", file, experiment, [s1] if isinstance(s1, str) else s1, scope)


def faults(result):
    return {line.what: line.verdict for line in result.verdicts if line.verdict not in ("identical", "rounded")}


@pytest.mark.parametrize(
    "name", ["base_v2.pth", "G_400.pth", "frozen_v2_e8_s400.pth", "base_v2.safetensors", "sovits_v2pro_e2_s100.pth"]
)
def test_the_same_values_agree_in_every_file(lock, checkpoints, name):
    """A lock of the float16 base accepts it in every format and width, with nothing but the lock at hand."""
    result = check(lock(checkpoints / "base_v2.pth"), checkpoints / name)
    assert (result.verdict, result.exit_code) == ("identical", 0)
    assert result.recorded == result.found


@pytest.mark.parametrize("name", ["G_437.pth", "drifted_v2_e8_s400.pth", "never_trained_v2.pth"])
def test_a_moved_codebook_does_not_agree(lock, checkpoints, name):
    """A drifted training file, its export and an untrained file fail, and the tensors are named."""
    result = check(lock(checkpoints / "base_v2.pth"), checkpoints / name)
    assert (result.verdict, result.exit_code) == ("changed", 1)
    assert {"codes", "ema_sum", "ema_count"} <= faults(result).keys()


def test_a_lock_of_a_float32_file_judges_its_float16_export(lock, checkpoints):
    """The export of the locked file is `rounded`; the export of another one is `changed`."""
    wide = lock(checkpoints / "G_437.pth")
    assert check(wide, checkpoints / "drifted_v2_e8_s400.pth").verdict == "rounded"
    assert check(wide, checkpoints / "frozen_v2_e8_s400.pth").verdict == "changed"


def test_two_float32_files_that_round_to_the_same_halves_are_not_the_same(lock, vq_state, save):
    """Equal halves prove a rounding only where one side is rounded: a drift below half precision is still a change."""
    state = vq_state()
    made = lock(save(state, "a.pth"))
    embed = state[f"{CODEBOOK}.embed"]
    moved = embed.clone()
    moved.view(torch.int32)[0, 0] ^= 1
    assert torch.equal(moved.half(), embed.half())
    state[f"{CODEBOOK}.embed"] = moved
    assert faults(check(made, save(state, "b.pth"))) == {"codes": "changed"}


def to(state, dtype):
    return {name: value.to(dtype) for name, value in state.items()}


def moved_within_a_step(half):
    return {name: value.float() * (1 if name.endswith("inited") else 1 + 1e-4) for name, value in half.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_lock_of_a_float32_file_judges_its_narrow_exports(lock, vq_state, save, dtype):
    """A float16 and a bfloat16 export of the locked file are `rounded`, one with a moved code is `changed`."""
    made = lock(save(vq_state(), "G_400.pth", iteration=8, optimizer={}))
    narrow = to(vq_state(), dtype)
    export = save(narrow, "e_e8_s400.pth", info="8epoch_400iteration")
    assert (check(made, export).verdict, check(made, export).exit_code) == ("rounded", 0)
    narrow[f"{CODEBOOK}.embed"][1] *= 1.5
    assert faults(check(made, save(narrow, "f_e8_s400.pth", info="8epoch_400iteration"))) == {"codes": "changed"}


def test_what_moved_by_less_than_a_step_of_the_locked_values_is_changed(lock, vq_state, save):
    """The float32 training file, and any other wider file, of a locked float16 base; the base itself is identical."""
    half = to(vq_state(), torch.float16)
    wide = moved_within_a_step(half)
    assert torch.equal(wide["ssl_proj.weight"].half(), half["ssl_proj.weight"])
    made = lock(save(half, "base.pth"))
    for name, around in (
        ("G_400.pth", {"iteration": 8}),
        ("base2.pth", {}),
        ("e_e1_s2.pth", {"info": "1epoch_2iteration"}),
    ):
        assert check(made, save(wide, name, **around)).exit_code == 1
    assert check(made, save(to(half, torch.float32), "G_400.pth", iteration=8)).verdict == "identical"


def test_a_lock_of_an_export_accepts_its_training_file(lock, vq_state, save):
    """The lock records that it was made from an export, which came from the training file, and not from a base."""
    half = to(vq_state(), torch.float16)
    training = save(moved_within_a_step(half), "G_400.pth", iteration=8, optimizer={})
    made = lock(save(half, "e_e8_s400.pth", info="8epoch_400iteration"))
    assert (made.record.kind.value, made.record.epoch, made.record.steps) == ("export", 8, 400)
    assert check(made, training).verdict == "rounded"
    assert check(lock(save(half, "base.pth")), training).verdict == "changed"


def test_two_narrow_types_are_not_compared_by_digest(lock, vq_state, save):
    """Of a float16 lock and a bfloat16 file digests do not tell a rounding from a change: 2, and `diff` is named."""
    made = lock(save(to(vq_state(), torch.float16), "e_e8_s400.pth", info="8epoch_400iteration"))
    other = save(to(vq_state(), torch.bfloat16), "f_e8_s400.pth", info="8epoch_400iteration")
    with pytest.raises(UsageError, match=r"not comparable by digest: vqcheck diff e_e8_s400\.pth"):
        check(made, other)
    eight = save(to(vq_state(), torch.float8_e5m2), "g_e8_s400.pth", info="8epoch_400iteration")
    with pytest.raises(UsageError, match="not comparable by digest"):
        check(lock(save(vq_state(), "G_400.pth", iteration=8)), eight)


def test_codes_that_rounding_destroyed_are_changed(lock, vq_state, save):
    """From digests alone: what the rounded file itself shows of codes in use; unused codes do not count."""
    state = vq_state()
    state[f"{CODEBOOK}.embed"][3] = 1e-9
    made = lock(save(state, "G_400.pth", iteration=8))
    assert faults(check(made, save(to(state, torch.float16), "e.pth", info="8epoch"))) == {"codes": "changed"}
    state[f"{CODEBOOK}.cluster_size"][3] = 1e-6
    made = lock(save(state, "G_400.pth", iteration=8))
    assert check(made, save(to(state, torch.float16), "e.pth", info="8epoch")).verdict == "rounded"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state.pop("ssl_proj.weight") is state.pop("ssl_proj.bias"), "without the projection"),
        (lambda state: state.pop("ssl_proj.weight"), "without the projection"),
        (lambda state: state[f"{CODEBOOK}.embed"][2].fill_(float("nan")), "not finite"),
        (lambda state: state["ssl_proj.weight"].fill_(float("inf")), "not finite"),
        (lambda state: state[f"{CODEBOOK}.cluster_size"][2].fill_(-1.0), "broken"),
        (lambda state: state[f"{CODEBOOK}.inited"].zero_(), "never trained"),
    ],
)
def test_what_proves_nothing_is_not_locked(lock, vq_state, save, spoil, words):
    """Half a VQ encoder, NaN, impossible counts and an untrained codebook are refused."""
    state = vq_state() | {"enc_p.text_embedding.weight": torch.ones(732, 2)}
    spoil(state)
    with pytest.raises(UsageError, match=words):
        lock(save(state, "a.pth"))


def test_a_lora_export_names_the_base_to_lock(lock, checkpoints):
    """It has no projection, and a lock of it would accept any."""
    with pytest.raises(
        UsageError, match=r"a LoRA export .* lock its base model \(s2Gv3.pth, or what it was trained from\)"
    ):
        lock(checkpoints / "lora_v3_e2_s50_l32.pth")


def test_combined_digests_must_be_those_of_the_tensors(lock, checkpoints):
    """A lock that was written anew with other combined digests is damaged, whichever algorithm's they are."""
    made = lock(checkpoints / "base_v2.pth")
    (copy,) = made.copies
    for number, (part, digest) in enumerate(copy.wholes):
        wholes = (*copy.wholes[:number], (part, replace(digest, hex="0" * 64)), *copy.wholes[number + 1 :])
        with pytest.raises(UsageError, match="damaged: its combined digests"):
            check(replace(made, copies=(replace(copy, wholes=wholes),)), checkpoints / "G_400.pth")


def test_another_codec_is_not_comparable(lock, checkpoints, save):
    """A lock of one family against a file of another is 2, unless both store the same tensors."""
    made = lock(checkpoints / "base_v2.pth")
    layer = {"embed": torch.randn(8, 4), "embed_avg": torch.randn(8, 4), "cluster_size": torch.ones(8)}
    encodec = {f"quantizer.vq.layers.{n}._codebook.{name}": value for n in range(2) for name, value in layer.items()}
    other = save(encodec, "encodec.th")
    with pytest.raises(UsageError, match=r"records one of gpt-sovits; not comparable by digest"):
        check(made, other)


def test_another_spelling_is_not_comparable(lock, save):
    """A weight-normed projection against the same one fused: 2, and `diff` is named, which calculates."""
    generator = torch.Generator().manual_seed(0)
    path = "quantizer.quantizers.0"
    g, v = torch.rand(4, 1, 1, generator=generator) + 0.5, torch.randn(4, 8, 1, generator=generator)
    state = {f"{path}.codebook.weight": torch.randn(16, 4, generator=generator), f"{path}.in_proj.bias": torch.zeros(4)}
    state |= {f"{path}.out_proj.weight": torch.randn(8, 4, 1), f"{path}.out_proj.bias": torch.zeros(8)}
    normed = state | {f"{path}.in_proj.weight_g": g, f"{path}.in_proj.weight_v": v}
    fused = state | {f"{path}.in_proj.weight": torch._weight_norm(v, g, 0)}
    made = lock(save(normed, "a.pth"))
    with pytest.raises(UsageError, match=r"weight-normed .* not comparable by digest: vqcheck diff a.pth"):
        check(made, save(fused, "b.pth"))


def test_scope_tokens_leaves_bookkeeping_out(lock, vq_state, save):
    """Changed counts fail the check by default and not with `tokens`; codes fail both."""
    state = vq_state()
    made = lock(save(state, "a.pth"))
    state[f"{CODEBOOK}.cluster_size"] = state[f"{CODEBOOK}.cluster_size"] * 0.5
    moved = save(state, "b.pth")
    assert [check(made, moved, scope=scope).exit_code for scope in ("all", "tokens")] == [1, 0]
    state[f"{CODEBOOK}.embed"] = state[f"{CODEBOOK}.embed"] * 2
    assert check(made, save(state, "c.pth"), scope="tokens").exit_code == 1


def test_a_lora_export_agrees_as_far_as_it_stores(lock, checkpoints):
    """What a LoRA export leaves to its base is `not stored`; the codebook is still checked."""
    made = lock(checkpoints / "base_v2.pth")
    result = check(made, checkpoints / "lora_v3_e2_s50_l32.pth")
    assert result.exit_code == 0
    assert faults(result) == {"input_proj.weight": "not stored", "input_proj.bias": "not stored"}


@pytest.mark.parametrize(("locked", "file"), [((0, 1, 2), (0, 2)), ((0, 2), (0, 1, 2))])
def test_a_codebook_that_is_not_there_is_missing_as_a_whole(lock, vq_state, save, locked, file):
    """All four tensors of a codebook that the lock or the file lacks are `missing`; no export is blamed."""

    def residual(layers):
        state = {name: value for name, value in vq_state().items() if name.startswith(CODEBOOK)}
        return {name.replace(".0.", f".{layer}."): value + layer for layer in layers for name, value in state.items()}

    result = check(lock(save(residual(locked), "a.pth")), save(residual(file), "b.pth"))
    assert faults(result) == {f"1 {role}": "missing" for role in ("codes", "ema_sum", "ema_count", "init_flag")}


def test_a_never_trained_codebook_is_told_and_not_locked(lock, checkpoints):
    """A lock of an untrained codebook would prove nothing; a file that lost its training says so when checked."""
    with pytest.raises(UsageError, match="never trained"):
        lock(checkpoints / "never_trained_v2.pth")
    made = lock(checkpoints / "base_v2.pth")
    assert check(made, checkpoints / "never_trained_v2.pth").never_trained
    assert not check(made, checkpoints / "G_400.pth").never_trained


def test_the_s1_checkpoint_is_bound_by_its_content(lock, checkpoints, tmp_path):
    """The same s1 file under another name agrees, another one does not, and an unbound lock says how to bind it."""
    base, s1 = checkpoints / "base_v2.pth", checkpoints / "gpt-e15.ckpt"
    made = lock(base, s1=str(s1))
    copy = tmp_path / "renamed.ckpt"
    copy.write_bytes(s1.read_bytes())
    assert check(made, base, s1=str(copy)).exit_code == 0
    assert faults(check(made, base, s1=str(checkpoints / "lightning_s1.ckpt"))) == {"s1": "changed"}
    with pytest.raises(UsageError, match=r"binds no s1 checkpoint.*--update"):
        check(lock(base), base, s1=str(s1))


def test_several_s1_checkpoints_are_bound(lock, checkpoints):
    """The Lightning checkpoint and the export of one run are two files: each agrees, alone and together."""
    base = checkpoints / "base_v2.pth"
    exported, lightning = str(checkpoints / "gpt-e15.ckpt"), str(checkpoints / "lightning_s1.ckpt")
    made = lock(base, s1=[exported, lightning, exported])
    assert [line.split()[0] for line in made.text().splitlines()].count("s1") == 2
    assert lock(base, s1=[lightning, exported]).text() == made.text()
    for s1 in ([exported], [lightning], [lightning, exported]):
        assert check(made, base, s1=s1).exit_code == 0
    one = lock(base, s1=[exported])
    found = check(one, base, s1=[exported, lightning])
    assert found.exit_code == 1
    assert [line.name for line in found.verdicts if line.verdict == "changed"] == [f"{lightning} s1"]


def test_only_an_s1_checkpoint_of_these_tokens_is_bound(lock, checkpoints, tmp_path):
    """A generator is not an s1 checkpoint. One that names another folder's tokens is bound: that may be renamed."""
    base = checkpoints / "base_v2.pth"
    with pytest.raises(UsageError, match="not an s1"):
        lock(base, s1=str(base))
    (tmp_path / "6-name2semantic.tsv").write_text("a.wav\t1 2\n")
    s1 = str(checkpoints / "gpt-e15.ckpt")
    assert lock(base, experiment=str(tmp_path), s1=[s1]).binds_s1(file_digest(s1))
    assert renamed_from([s1], str(tmp_path)) == ((s1, "logs/demo/6-name2semantic.tsv"),)
    demo = tmp_path / "logs" / "demo"
    demo.mkdir(parents=True)
    assert renamed_from([s1], str(demo)) == ()


def test_the_tokens_are_bound_by_their_content(lock, checkpoints, tmp_path):
    """Row order, line ends and the header do not matter; one token does."""
    base = checkpoints / "base_v2.pth"
    tsv = tmp_path / "6-name2semantic.tsv"
    tsv.write_bytes(b"item_name\tsemantic_audio\na.wav\t1 2 3\nb.wav\t4 5\n")
    made = lock(base, experiment=str(tmp_path))
    tsv.write_bytes(b"b.wav\t4 5\r\n\r\na.wav\t1 2 3\r\n")
    assert check(made, base, experiment=str(tmp_path)).exit_code == 0
    tsv.write_bytes(b"item_name\tsemantic_audio\na.wav\t1 2 3\nb.wav\t4 6\n")
    assert faults(check(made, base, experiment=str(tmp_path))) == {"tsv": "changed"}


def test_the_file_is_sorted_small_and_diffable(lock, checkpoints):
    """One fact a line, in sorted order, base names only, all three digests of every tensor."""
    made = lock(checkpoints / "base_v2.pth", s1=str(checkpoints / "gpt-e15.ckpt"))
    lines = [line for line in made.text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    assert sum(line.startswith("tensor ") for line in lines) == 18
    assert 'checkpoint "base_v2.pth"' in lines
    assert str(checkpoints) not in made.text()
    assert len(made.text()) < 4_000
    assert made.whole("vq_encoder", F32V1).hex == "a999277e57d91009e86fa5f7f0d281b5b8692c5cfa20462f75c1793c2c069235"
    assert made.whole("vq_encoder", F16V1) is not None


def test_a_name_may_be_anything(lock, checkpoints, tmp_path):
    """Spaces, Chinese, emoji and a line break in a file name survive the round trip."""
    odd = tmp_path / "嗓音 😀\nschema x.pth"
    odd.write_bytes((checkpoints / "base_v2.pth").read_bytes())
    assert lock(odd).checkpoint == odd.name


DAMAGE = {
    "empty": (lambda _: "", "not a vqcheck lock"),
    "foreign": (lambda _: "[package]\nname = 'x'\n", "not a vqcheck lock"),
    "newer schema": (lambda text: text.replace("vqcheck/lock/1", "vqcheck/lock/2"), "another version"),
    "cut digest": (lambda text: text.replace("codebook sha256-f32v1:", "codebook sha256-f32v1:zz"), "not a digest"),
    "unknown line": (lambda text: text + "surprise 1\n", "line 'surprise"),
    "repeated line": (
        lambda text: text + next(x for x in text.splitlines() if "vq_encoder" in x) + "\n",
        "second time",
    ),
    "two precisions": (lambda text: text.replace("tensor codes float16", "tensor codes float32", 1), "two precisions"),
    "no tensors": (lambda text: "\n".join(x for x in text.splitlines() if "tensor" not in x), "no digests"),
    "bad name": (lambda text: text.replace('checkpoint "base', "checkpoint base"), "not a name"),
    "binary": (lambda _: "\udcff\udcfe", "not a vqcheck lock"),
    "another family": (
        lambda text: text.replace("family gpt-sovits", "family encodec"),
        "not those it was written with",
    ),
    "another kind": (lambda text: text.replace("kind base", "kind export"), "not those it was written with"),
    "combined digest": (
        lambda text: text.replace("vq_encoder sha256-f32v1:a", "vq_encoder sha256-f32v1:b"),
        "not those it was written with",
    ),
    "lost lines": (
        lambda text: "".join(x for x in text.splitlines(True) if "tensor input_proj" not in x),
        "not those it was written with",
    ),
    "no content line": (
        lambda text: "".join(x for x in text.splitlines(True) if not x.startswith("content")),
        "no line 'content'",
    ),
    "two schemas": (lambda text: text + "schema vqcheck/lock/1\n", "not a vqcheck lock"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_lock_is_refused_in_one_line(lock, checkpoints, tmp_path, damage):
    """Every line that is not of the format, repeated or missing is an error that names the file."""
    spoil, words = DAMAGE[damage]
    path = tmp_path / "damaged.lock"
    path.write_bytes(spoil(lock(checkpoints / "base_v2.pth").text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=words) as error:
        read_lock(str(path))
    assert "damaged.lock" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_lock_says_how_to_make_one(tmp_path):
    """The error names the command."""
    with pytest.raises(UsageError, match="vqcheck lock CHECKPOINT"):
        read_lock(str(tmp_path / "vqcheck.lock"))


@pytest.mark.parametrize(("layer", "status"), [(0, 1), (1, 1), (2, 0)])
def test_a_projection_of_a_residual_chain_that_the_file_lacks(layer, status, tmp_path, capsys):
    """Missing where a later layer depends on it, which the lock was made with; behind the last one it may be absent."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"codebook": (8, 4), "in_proj": (4, 6, 1), "out_proj": (6, 4, 1)}
    state = {
        f"quantizer.quantizers.{number}.{name}.weight": torch.randn(shape, generator=generator)
        for number in range(3)
        for name, shape in shapes.items()
    }
    torch.save(state, tmp_path / "a.pth")
    del state[f"quantizer.quantizers.{layer}.out_proj.weight"]
    torch.save(state, tmp_path / "b.pth")
    lock = str(tmp_path / "a.lock")
    assert main(["lock", str(tmp_path / "a.pth"), "-o", lock]) == 0
    assert main(["lock", "--check", str(tmp_path / "b.pth"), "-o", lock]) == status
    assert (f"{layer} output_proj.weight" in capsys.readouterr().out) is bool(status)


@pytest.fixture
def make(sound, capsys):
    """Runs `vqcheck lock` on a checkpoint and the experiment; returns the status, what is said, if it is there."""

    def run(checkpoint, *options):
        path = sound.root / "new.lock"
        code = main(["lock", str(checkpoint), "--experiment", str(sound.folder), "-o", str(path), *options])
        return code, "".join(capsys.readouterr()), path.exists()

    return run


def moved(state):
    """Return a state dict whose codebook drifted by a tenth of its spread."""
    generator, name = torch.Generator().manual_seed(1), f"{CODEBOOK}.embed"
    codes = state[name].float() + 0.2 * torch.randn(state[name].shape, generator=generator)
    return {**state, name: codes.to(state[name].dtype)}


def test_tokens_of_another_encoder_are_not_bound(make, sound):
    """A drifted generator is not locked to the tokens of its base, and nothing is written; the base itself is."""
    drifted = sound.root / "G_900.pth"
    torch.save({"model": moved(sound.state), "iteration": 9}, drifted)
    code, said, written = make(drifted)
    assert (code, written) == (2, False)
    assert "tokens do not agree with" in said
    assert "recorded tokens do not come from this VQ encoder" in said
    code, said, written = make(sound.base)
    assert (code, written) == (0, True)
    assert "could not be compared" not in said


def test_tokens_that_cannot_be_checked_are_bound_and_it_says_so(make, sound):
    """Features are often cleaned up after extraction: that alone keeps nobody from making a lock."""
    shutil.rmtree(sound.folder / "4-cnhubert")
    code, said, written = make(sound.base)
    assert (code, written) == (0, True)
    assert "The tokens could not be compared with s2G2333k.pth" in said


def test_a_base_that_explains_the_tokens_too_keeps_a_drifted_file_from_their_lock(make, sound, checkpoints, vqcheck):
    """As `tokens` decides it; who extracted them again with that file says so, and is then believed by all commands."""
    drifted = sound.folder / "G_437.pth"
    shutil.copy(checkpoints / "G_437.pth", drifted)
    # No configuration names a base, so nothing speaks against the file.
    code, _, written = make(drifted)
    assert (code, written) == (0, True)
    (sound.root / "new.lock").unlink()
    shutil.copy(sound.config, sound.folder)
    assert vqcheck("tokens", drifted, sound.folder).returncode == 1
    code, said, written = make(drifted)
    assert (code, written) == (2, False)
    assert "s2G2333k.pth, too" in said
    assert "--update" in said
    own = ("-o", str(sound.folder / "vqcheck.lock"))
    assert make(drifted, *own)[0] == 2
    assert make(sound.base, *own)[0] == 0
    (sound.folder / "vqcheck.lock").unlink()
    code, said, _ = make(drifted, "--update", *own)
    assert code == 0
    assert "s2G2333k.pth, too" in said
    assert make(drifted, *own)[0] == 0  # `unchanged`
    assert vqcheck("tokens", drifted, sound.folder).returncode == 0
    assert vqcheck("tokens", sound.base, sound.folder).returncode == 1


def test_features_of_other_recordings_are_not_said_to_be_another_encoder(make, sound):
    """Where tokens agree as far as they go and only lengths do not, lengths are what the refusal names."""
    header, *rows = sound.tsv.read_text("utf-8").splitlines()
    sound.tsv.write_text("\n".join([header, *(row.rsplit(" ", 4)[0] for row in rows)]) + "\n", "utf-8")
    code, said, written = make(sound.base)
    assert (code, written) == (2, False)
    assert "another length than their features" in said
    assert "do not come from" not in said


def test_one_copy_that_made_the_tokens_is_enough(make, sound):
    """Of a file with several copies one was extracted with; the one that is chosen must be that."""
    path = sound.root / "both.pth"
    torch.save({"model": moved(sound.state), "ema": sound.state}, path)
    assert make(path)[0] == 0
    code, said, _ = make(path, "--copy", "model", "--update")
    assert code == 2
    assert "tokens do not agree with" in said
    assert make(path, "--copy", "ema", "--update")[0] == 0
