"""How long a changed pair takes against an equal one: the codebook of the changed file went through 37 EMA updates.

Aim: 3.5 times. A quarter of it are the imports of numpy and rich, and a tenth the distances between all codes, which
are calculated once: that no code came nearer to another's place follows from them and from how far each one moved.
"""

from checkpoints import generator, trained_pair
from processes import Command, interleave, python, time_and_memory, vqcheck
from run import Run, isolated


def make_features(folder, items):
    """Write recordings of features as extraction leaves them."""
    import torch

    random = generator(4)
    folder.mkdir()
    for item in range(items):
        values = torch.randn(1, 250, 768, generator=random).transpose(1, 2).half()
        torch.save(values, folder / f"{item:03}.wav.pt")


def measure(run: Run):
    items = 4 if run.quick else 100
    features = run.folder / "4-cnhubert"
    run.stage("making checkpoints")
    if not (run.folder / "c.pth").exists():
        isolated(trained_pair, run.folder, 20 if run.quick else 830)
    if not features.exists():
        isolated(make_features, features, items)
    a, b, c = (run.folder / f"{letter}.pth" for letter in "abc")
    costs = interleave(
        {
            "an equal pair": Command(vqcheck("diff", a, b)),
            "a changed pair": Command(vqcheck("diff", a, c), status=1),
            f"with --features, {items} recordings": Command(vqcheck("diff", a, c, "--features", features), status=1),
            "import numpy": Command(python("import click, dataclasses, hashlib, numpy")),
        },
        run.samples,
        run.stage,
    )
    equal, changed, featured, floor = costs
    return [
        *time_and_memory("changed", "diff with a diagnosis", costs, changed, rivals=(equal,), floor=floor),
        *time_and_memory("changed", f"diff {featured}", costs, featured, rivals=(changed,), floor=floor),
    ]
