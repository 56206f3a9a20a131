"""Does putting the base's VQ encoder back sound closer? Asked of small models whose codebook drifted in s2 training.

A small v2 model is trained with its VQ encoder frozen until its decoder follows the recordings: this is the base, and
its tokens are the recorded ones. Then s2 training goes on as upstream did it until May 2024 (gradients off, codebook
not frozen) for 100 and for 1,000 updates more. Each of the two files is restored and measured by

    vqcheck restore base.pth drifted_N.pth -o restored_N.pth --experiment logs --symbols symbols.txt

Run `python tests/benchmarks/restore_quality.py FOLDER`; about six minutes of one core.

What came out, as the mean distance of log mel spectrograms from 16 recordings (torch 2.13, CPU, seed 0):

    updates  other tokens  drifted  restored  extracted again  restored against drifted (95 %)
    100      12 of 536     0.656    0.657     0.658            +0.0002 (-0.0002 to +0.0007)  no difference
    1,000    191 of 536    0.753    0.622     0.621            -0.132  (-0.220 to -0.044)    restored is better

So the decoder had learned little of the codes that moved, and to put the old ones back was as good as to extract the
tokens again, which would need s1 to be trained again, too. What its size limits: the model has a thirtieth of the real
one's weights and 64 codes instead of 1,024, the speech is synthesised as that of `fixtures/experiment` is, it was
trained on what was measured, and the learning rate is ten times upstream's, as is befitting so few updates. The sign of
a difference may carry over to real voices, its size does not. Measure your own: that is what the option is for.
"""

import argparse
import runpy
import sys
from pathlib import Path

import numpy as np
import torch

from vqcheck.cli.main import main as vqcheck
from vqcheck.experiment.directory import read_experiment
from vqcheck.experiment.name2semantic import HEADER, MERGED
from vqcheck.replay.batches import collate, endless_batches
from vqcheck.replay.s2_training import fresh_vq_encoder
from vqcheck.replay.step_settings import StepSettings
from vqcheck.replay.strategies import RequiresGrad
from vqcheck.replay.training_data import RecordedData
from vqcheck.replay.training_step import AdversarialStep
from vqcheck.synthesizer import SynthesizerTrn, preset

ROOT = Path(__file__).parents[2]
RECORDINGS, PITCHES, SOUNDS = 16, (95, 215), "aiues"
CODES, SYMBOLS, BATCH, FRAMES, RATE = 64, 732, 4, 16, 1e-3
SIZES = {
    "inter_channels": 32,
    "hidden_channels": 32,
    "filter_channels": 64,
    "n_layers": 2,
    "resblock_kernel_sizes": (3,),
    "resblock_dilation_sizes": ((1, 3, 5),),
    "upsample_initial_channel": 128,
    "gin_channels": 32,
    "mrte_hidden": 32,
    "reference_hidden": 16,
    "posterior_layers": 4,
    "flow_layers": 2,
    "n_flows": 2,
    "p_dropout": 0.0,
    "codebook_size": CODES,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--updates", type=int, default=700, help="with the codebook frozen, for the base")
    parser.add_argument("--drift", type=int, nargs="+", default=[100, 1000], help="updates after which to stop")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    experiment = given.folder / "logs"
    make_recordings(experiment)
    train(given.folder, experiment, given.updates, sorted(given.drift))
    return max([measure(given.folder, experiment, count) for count in given.drift])


def make_recordings(folder: Path) -> None:
    """Write an experiment of more recordings than the fixture has, made in the same way."""
    make = runpy.run_path(str(ROOT / "fixtures" / "make_experiment.py"))
    for part in ("4-cnhubert", "5-wav32k"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    draw, lines = np.random.default_rng(7), []
    projection = draw.standard_normal((make["BANDS"], make["SSL_DIM"])) * np.exp(
        0.7 * draw.standard_normal(make["SSL_DIM"])
    )
    for number in range(RECORDINGS):
        name, sounds = f"{number:02}.wav", [str(each) for each in draw.choice(list(SOUNDS), size=5)]
        seconds = draw.uniform(0.15, 0.4, size=5)
        samples = make["speech"](draw.uniform(*PITCHES), list(zip(sounds, seconds, strict=True)), draw)
        samples = samples[: len(samples) // (2 * make["HOP"]) * 2 * make["HOP"]]
        make["write_wav"](folder / "5-wav32k" / name, samples)
        features = make["features"](make["log_bands"](samples), projection, draw)
        torch.save(features, folder / "4-cnhubert" / f"{name}.pt")
        lines.append(f"{name}\t{' '.join(sounds)}\t[1]\ttext")
    (folder / "2-name2text.txt").write_text("\n".join(lines) + "\n")


def train(folder: Path, experiment: Path, updates: int, drift: list[int]) -> None:
    """Write base.pth, the tokens it gives, the symbols in their order, and drifted_N.pth."""
    sizes = preset("v2")
    symbols = sorted(SOUNDS) + [f"unused {number}" for number in range(SYMBOLS - len(SOUNDS))]
    (folder / "symbols.txt").write_text("\n".join(symbols) + "\n")
    data = RecordedData(
        read_experiment(str(experiment), False), sizes.spectrogram, 768, SYMBOLS, None, str(folder / "symbols.txt")
    )
    items = [data.item(place) for place in range(RECORDINGS)]
    net = sizes.synthesizer(**{**SIZES, "freeze_quantizer": True})
    fresh_vq_encoder(net, torch.cat([item.ssl for item in items], dim=1)[None])
    settings = StepSettings(
        learning_rate=RATE, betas=(0.8, 0.99), eps=1e-9, lr_decay=1.0, text_low_lr_rate=0.4, c_mel=45.0, c_kl=1.0,
        segment_size=FRAMES, spectrogram=sizes.spectrogram, fp16=False,
    )  # fmt: skip
    net.segment_size = FRAMES
    critic = sizes.multi_period_discriminator(narrowing=64, periods=(2, 3))
    step = AdversarialStep(net, critic, settings, ["ssl", "y", "y_lengths", "text", "text_lengths"])
    batches = endless_batches(data.lengths, BATCH)
    run(step, data, batches, updates, "frozen")
    save(net, folder / "base.pth")
    rows = [HEADER, *(f"{item.name}\t{tokens(net, item.ssl)}" for item in items)]
    (experiment / MERGED).write_text("\n".join(rows) + "\n")
    net.freeze_quantizer = False
    RequiresGrad().apply(net)
    for before, after in zip([0, *drift], drift, strict=False):
        run(step, data, batches, after - before, f"drifting to {after}")
        moved = [item for item, row in zip(items, rows[1:], strict=True) if tokens(net, item.ssl) != row.split("\t")[1]]
        print(f"{len(moved)} of {len(items)} items have other tokens", flush=True)
        save(net, folder / f"drifted_{after}.pth")


def run(step: AdversarialStep, data: RecordedData, batches: object, updates: int, name: str) -> None:
    step.start_epoch()
    total = 0.0
    for number in range(1, updates + 1):
        _, places = next(batches)
        total += float(step(collate([data.item(place) for place in places]).inputs()).losses["mel"])
        if number % 100 == 0:
            print(f"{name}: {number} of {updates} updates, mel loss {total / 100:.2f}", file=sys.stderr, flush=True)
            total = 0.0


def tokens(net: SynthesizerTrn, ssl: torch.Tensor) -> str:
    was = net.training
    net.eval()
    with torch.no_grad():
        found = net.extract_latent(ssl[None, :, : ssl.size(1) // 2 * 2])
    net.train(was)
    return " ".join(map(str, found.flatten().tolist()))


def save(net: SynthesizerTrn, path: Path) -> None:
    """Write the weights as an export has them, in half precision."""
    weight = {name: tensor.half() for name, tensor in net.state_dict().items()}
    torch.save({"weight": weight, "config": {"model": {**SIZES, "version": "v2"}}, "info": "benchmark"}, path)


def measure(folder: Path, experiment: Path, count: int) -> int:
    """Restore a drifted file and say which is better; what was decoded is saved beside it."""
    files = [folder / "base.pth", folder / f"drifted_{count}.pth", "-o", folder / f"restored_{count}.pth"]
    given = ["--experiment", experiment, "--symbols", folder / "symbols.txt", "--save-audio", folder / f"audio_{count}"]
    return vqcheck(["restore", *map(str, files), *map(str, given)])


if __name__ == "__main__":
    sys.exit(main())
