"""Which way out is closest: recordings that one way reproduces exactly are closest to that way."""

import base64
import io
import re
import wave

import numpy as np
import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import UsageError
from vqcheck.restore.measure import Measuring
from vqcheck.restore.measured import Better, Way
from vqcheck.synthesizer import linear_spectrogram, mel_spectrogram, preset

SIZES = {
    "inter_channels": 8, "hidden_channels": 8, "filter_channels": 8, "n_layers": 2, "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]], "upsample_initial_channel": 32, "ssl_dim": 16, "codebook_size": 32,
    "reference_hidden": 8, "posterior_layers": 1, "flow_layers": 1, "n_flows": 1, "mrte_heads": 2, "kmeans_iters": 5,
}  # fmt: skip
SYMBOLS = {"v1": 322, "v2": 732, "v2Pro": 732, "v2ProPlus": 732}
FRAMES, ITEMS, PHONES = 40, 4, ("a", "i", "u")
NOISE = 1234
"""Seed of the noise, the same in each way."""


def sizes(version):
    pro = "Pro" in version
    wide = {"upsample_initial_channel": 768} if version == "v2ProPlus" else {}
    wide |= {"upsample_initial_channel": 512} if version == "v2Pro" else {}
    return {**SIZES, "mrte_hidden": 8, "gin_channels": 12 if pro else 8, **({"sv_dim": 6} if pro else {}), **wide}


def built(version, seed):
    """Return a small model whose sound does not depend on the reference."""
    torch.manual_seed(seed)
    net = preset(version).synthesizer(**{**sizes(version), "n_symbols": SYMBOLS[version]})
    net.initialise_codebook(3 * torch.randn(1, 16, 400))
    for name, parameter in net.named_parameters():
        if name.startswith(("ref_enc", "sv_emb", "prelu")):
            parameter.data.zero_()
        elif name.startswith("dec.conv_post"):
            parameter.data.mul_(20)
    return net.eval()


def save(net, path, version, dtype=torch.float32):
    config = {"model": {**sizes(version), "version": version}}
    weight = {name: tensor.to(dtype) for name, tensor in net.state_dict().items() if not name.startswith("enc_q.")}
    torch.save({"weight": weight, "config": config, "info": "1epoch_2iteration"}, path)


def decoded(net, tokens, text, vector):
    torch.manual_seed(NOISE)
    spec = torch.rand(1, preset("v2").spectrogram.spec_channels, 50)
    torch.manual_seed(NOISE)
    return net.decode(tokens, text, spec, sv_emb=vector)[0, 0].detach().numpy()


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(32000)
        file.writeframes((samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


@pytest.fixture
def voice(tmp_path):
    """Makes base, drifted and restored files, and recordings that one of the ways reproduces."""

    def make(spoken_by, version="v2", dtype=torch.float32):
        base, drifted = built(version, 1), built(version, 1)
        book = drifted.quantizer.vq.layers[0]._codebook
        generator = torch.Generator().manual_seed(5)
        book.embed.copy_(book.embed[torch.randperm(32, generator=generator)])
        restored = base
        for name, net in {"base": base, "drifted": drifted, "restored": restored}.items():
            save(net, tmp_path / f"{name}.pth", version, dtype)
        logs = tmp_path / "logs"
        for part in ("4-cnhubert", "5-wav32k", "7-sv_cn"):
            (logs / part).mkdir(parents=True)
        texts, rows = [], ["item_name\tsemantic_audio"]
        for number in range(ITEMS):
            name = f"{number}.wav"
            ssl = 3 * torch.randn(1, 16, FRAMES, generator=generator)
            vector = torch.randn(1, 6, generator=generator) if "Pro" in version else None
            tokens, again = (net.extract_latent(ssl) for net in (base, drifted))
            text = torch.tensor([[0, 2, 1]])
            ways = {
                Way.DRIFTED: (drifted, tokens),
                Way.RESTORED: (restored, tokens),
                Way.EXTRACTED_AGAIN: (drifted, again),
            }
            net, codes = ways[spoken_by]
            write_wav(logs / "5-wav32k" / name, decoded(net, codes, text, vector))
            torch.save(ssl, logs / "4-cnhubert" / f"{name}.pt")
            if vector is not None:
                torch.save(vector, logs / "7-sv_cn" / f"{name}.pt")
            texts.append(f"{name}\ta u i\t[3]\tx")
            rows.append(f"{name}\t{' '.join(map(str, tokens.flatten().tolist()))}")
        (logs / "2-name2text.txt").write_text("\n".join(texts) + "\n")
        (logs / "6-name2semantic.tsv").write_text("\n".join(rows) + "\n")
        symbols = [*PHONES, *(f"s{number}" for number in range(SYMBOLS[version] - len(PHONES)))]
        (tmp_path / "symbols.txt").write_text("\n".join(symbols) + "\n")
        return tmp_path

    return make


def measured(folder, sample=20):
    with open_checkpoint(folder / "drifted.pth") as drifted:
        measuring = Measuring(drifted, str(folder / "logs"), str(folder / "symbols.txt"), sample)
        return measuring.run(drifted, str(folder / "restored.pth"))


@pytest.mark.parametrize(
    ("spoken_by", "verdict"), [(Way.RESTORED, Better.BETTER), (Way.DRIFTED, Better.WORSE)], ids=str
)
def test_the_way_that_reproduces_the_recordings_is_closest(voice, spoken_by, verdict):
    """Its error is that of 16 bits, and the others' is larger in each recording."""
    found = measured(voice(spoken_by))
    assert found.verdict is verdict
    for item in found.items:
        assert min(Way, key=item.error) is spoken_by
    assert len(found.items) == found.of == ITEMS


def test_tokens_extracted_again_undo_a_permutation(voice):
    """Codes that only changed places: the drifted file decodes its own tokens as the base decodes the recorded ones."""
    found = measured(voice(Way.RESTORED))
    for item in found.items:
        assert item.error(Way.EXTRACTED_AGAIN) == pytest.approx(item.error(Way.RESTORED), rel=1e-3)
        assert 0 < item.other_tokens <= item.tokens == FRAMES // 2
    assert found.difference(Way.EXTRACTED_AGAIN, Way.DRIFTED).verdict is Better.BETTER


def test_errors_are_the_mean_distance_of_log_mels(voice):
    """Recomputed from the recordings and the files by torch alone."""
    folder = voice(Way.RESTORED)
    item = measured(folder).items[0]
    net = built("v2", 1)
    net.load_state_dict(torch.load(folder / "drifted.pth", weights_only=True)["weight"], strict=False)
    tokens = [int(t) for t in (folder / "logs/6-name2semantic.tsv").read_text().split("\n")[1].split("\t")[1].split()]
    with wave.open(str(folder / "logs/5-wav32k/0.wav")) as file:
        wav = torch.from_numpy(np.frombuffer(file.readframes(-1), "<i2").astype("f4") / 32768)[None]
    settings = preset("v2").spectrogram
    torch.manual_seed(NOISE)
    sound = net.decode(torch.tensor([[tokens]]), torch.tensor([[0, 2, 1]]), linear_spectrogram(wav, settings))[0]
    expected = (mel_spectrogram(sound, settings) - mel_spectrogram(wav, settings)).abs().mean()
    assert item.error(Way.DRIFTED) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("version", ["v1", "v2Pro", pytest.param("v2ProPlus", marks=pytest.mark.slow)])
def test_other_versions(voice, version):
    """With 1025 reference bins, and with speaker vectors; an export in half precision is widened."""
    found = measured(voice(Way.RESTORED, version, torch.float16), sample=2)
    assert found.version == version
    assert len(found.items) == 2
    assert found.of == ITEMS


def test_it_leaves_the_random_state_alone(voice):
    folder = voice(Way.RESTORED)
    before = torch.random.get_rng_state()
    measured(folder, sample=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_command_reports_saves_and_lets_one_listen(voice, valid, capsys):
    """JSON by its schema, wav files, and a page whose policy allows exactly the sound that is in it."""
    folder = voice(Way.RESTORED)
    given = [
        "restore", str(folder / "base.pth"), str(folder / "drifted.pth"), "-o", str(folder / "out.pth"),
        "--experiment", str(folder / "logs"), "--symbols", str(folder / "symbols.txt"), "--sample", "3",
    ]  # fmt: skip
    audio = folder / "audio"
    assert main([*given, "--save-audio", str(audio), "--format", "json"]) == 0
    document = valid(capsys.readouterr().out)
    assert document["measurement"]["verdict"] == "restored is better"
    assert len(document["measurement"]["items"]) == 3
    assert len(list(audio.iterdir())) == 3 * 4
    for item in document["measurement"]["items"]:
        for path in item["audio"].values():
            with wave.open(path) as file:
                assert (file.getframerate(), file.getnframes()) == (32000, FRAMES * 640)
    assert main([*given, "--format", "html", "--report", str(folder / "page.html")]) == 0
    page = (folder / "page.html").read_text()
    assert "; media-src data:&quot;" in page or '; media-src data:"' in page
    sounds = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', page)
    assert len(sounds) == 3 * 4
    for sound in sounds:
        with wave.open(io.BytesIO(base64.b64decode(sound))) as file:
            assert file.getnframes() == FRAMES * 640
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "restored is better" in said
    assert "was not measured" not in said


def test_what_cannot_be_measured_is_said_before_anything_is_written(voice, capsys):
    """A missing option, another version, tokens of no recording: status 2 and no file."""
    folder = voice(Way.RESTORED)
    base, drifted, out = (str(folder / name) for name in ("base.pth", "drifted.pth", "out.pth"))
    experiment, symbols = ["--experiment", str(folder / "logs")], ["--symbols", str(folder / "symbols.txt")]
    given = ["restore", base, drifted, "-o", out]
    assert main([*given, *experiment]) == 2
    assert main([*given, *symbols]) == 2
    assert main([*given, "--experiment", str(folder), *symbols]) == 2
    (folder / "few.txt").write_text("a\n")
    assert main([*given, *experiment, "--symbols", str(folder / "few.txt")]) == 2
    (folder / "logs" / "6-name2semantic.tsv").write_text("item_name\tsemantic_audio\nother.wav\t1 2\n")
    assert main([*given, *experiment, *symbols]) == 2
    capsys.readouterr()
    assert not (folder / "out.pth").exists()


def test_a_file_that_claims_endless_layers_is_refused(voice):
    """Sizes are believed within reason, and only where the tensors have them."""
    folder = voice(Way.RESTORED)
    for claim in ({"n_layers": 10**9}, {"inter_channels": 60000}, {"resblock_kernel_sizes": [3] * 10**4}):
        content = torch.load(folder / "drifted.pth", weights_only=True)
        content["config"]["model"] |= claim
        torch.save(content, folder / "claims.pth")
        with open_checkpoint(folder / "claims.pth") as file, pytest.raises(UsageError):
            Measuring(file, str(folder / "logs"), str(folder / "symbols.txt"), 20)
