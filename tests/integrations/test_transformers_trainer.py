"""The callbacks under transformers' own Trainer: they see what happens in `train`, and go on after a resume."""

import csv
import json

import pytest
import torch

from vqcheck.errors import CodebookChanged, CodebookCollapsed, UsageError

pytest.importorskip("accelerate", reason="needs the group integrations: accelerate is not installed")
transformers = pytest.importorskip("transformers")

from vqcheck.integrations.transformers import (  # noqa: E402
    TransformersFreeze,
    TransformersGuard,
    TransformersMonitor,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]
STEPS = 4


class Task(torch.nn.Module):
    """What a Trainer expects: a forward of named inputs that gives a loss; `write` is called before a training step."""

    def __init__(self, net_g, write):
        super().__init__()
        self.net_g = net_g
        self.write = write

    def forward(self, x):
        if self.training:
            self.write(self.net_g)
        return {"loss": self.net_g(x)}


@pytest.fixture
def task(small_model):
    return lambda write=lambda _: None: Task(small_model(), write)


@pytest.fixture
def train(tmp_path, batches):
    """Trains on the CPU; returns the model."""

    def run(model, *callbacks, steps=STEPS, resume=None, **options):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=steps,
            save_steps=1,
            per_device_train_batch_size=1,
            learning_rate=1e-2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=1,
            **options,
        )
        trainer = transformers.Trainer(
            model,
            arguments,
            data_collator=lambda rows: {"x": torch.cat([row["x"] for row in rows])},
            train_dataset=[{"x": batch} for batch in batches],
            callbacks=list(callbacks),
        )
        trainer.train(resume_from_checkpoint=resume and str(tmp_path / "out" / resume))
        return model

    return run


def test_a_guard_ends_the_training_at_the_first_look(train, task):
    guard = TransformersGuard(every=1)
    with pytest.raises(CodebookChanged, match=r"first in step 1\n    written by .*_move_averages"):
        train(task(), guard)
    assert guard.guard.steps == 2


def test_a_frozen_training_is_silent_and_what_is_behind_learns(train, task, vq_encoder, changed):
    model = task()
    before, decoder = vq_encoder(model.net_g), model.net_g.decoder.weight.clone()
    guard = TransformersGuard(every=1)
    with pytest.warns(RuntimeWarning, match="stop learning"):
        train(model, TransformersFreeze(), guard)
    assert guard.guard.steps == STEPS
    assert changed(model.net_g, before) == set()
    assert not torch.equal(model.net_g.decoder.weight, decoder)


def test_without_freeze_the_codebook_moves(train, task, vq_encoder, changed):
    """The control of the test above."""
    model = task()
    before = vq_encoder(model.net_g)
    train(model)
    assert "quantizer.vq.layers.0._codebook.embed" in changed(model.net_g, before)


def test_the_encoder_learns(train, task, vq_encoder, changed):
    model = task()
    before, encoder = vq_encoder(model.net_g), model.net_g.encoder.weight.clone()
    train(model, TransformersFreeze(encoder="learns", module="net_g"), TransformersGuard(every=1))
    assert changed(model.net_g, before) == set()
    assert not torch.equal(model.net_g.encoder.weight, encoder)


@pytest.mark.parametrize("restored", [False, True], ids=["default", "states of callbacks restored"])
def test_a_guard_goes_on_after_a_resume(train, task, tmp_path, restored):
    """The step of the change is one of the whole run; either of the Trainer's ways to restore callbacks will do."""
    seen = []

    def write(net):
        seen.append(0)
        if len(seen) == 2:
            net.quantizer.codebooks()[0].embed.data[3] += 1

    train(task(), TransformersFreeze(), TransformersGuard(every=2))
    state = json.loads((tmp_path / f"out/checkpoint-{STEPS}/trainer_state.json").read_text("utf-8"))
    assert state["stateful_callbacks"]["vqcheck.guard"]["steps"] == STEPS
    guard = TransformersGuard(every=2)
    with pytest.raises(CodebookChanged, match=f"first in step {STEPS + 2}"):
        train(
            task(write),
            TransformersFreeze(),
            guard,
            steps=STEPS + 4,
            resume=f"checkpoint-{STEPS}",
            restore_callback_states_from_checkpoint=restored,
        )
    assert guard.guard.steps == STEPS + 3


def test_another_codebook_in_the_checkpoint_ends_the_resume(train, task, tmp_path):
    from safetensors.torch import load_file, save_file

    train(task(), TransformersFreeze(), TransformersGuard())
    path = tmp_path / f"out/checkpoint-{STEPS}/model.safetensors"
    state = load_file(path)
    state["net_g.quantizer.vq.layers.0._codebook.embed"][3] += 1
    save_file(state, path, {"format": "pt"})
    with pytest.raises(CodebookChanged, match=f"resumed after step {STEPS}; it differs in net_g.*embed$"):
        train(task(), TransformersFreeze(), TransformersGuard(), steps=STEPS + 2, resume=f"checkpoint-{STEPS}")


def test_a_resumed_run_is_frozen_as_its_checkpoint_is(train, task, vq_encoder, changed):
    """Weights that come with the checkpoint are the ones that are held, also where the new model has none yet."""
    first, second = task(), task()
    train(first)
    second.net_g.quantizer.codebooks()[0].embed.zero_()
    second.net_g.quantizer.codebooks()[0].inited.zero_()
    before = vq_encoder(first.net_g)
    train(second, TransformersFreeze(module="net_g"), steps=STEPS + 2, resume=f"checkpoint-{STEPS}")
    assert changed(second.net_g, before) == set()


def test_an_untrained_codebook_is_refused_when_training_begins(train, task):
    model = task()
    model.net_g.quantizer.codebooks()[0].embed.zero_()
    with pytest.raises(UsageError, match="never trained"):
        train(model, TransformersFreeze())


def test_a_monitor_reaches_its_sinks_and_goes_on(train, task, tmp_path):
    sinks = [tmp_path / "use.csv"]
    train(task(), TransformersMonitor(every=2, sinks=sinks))
    train(task(), TransformersMonitor(every=2, sinks=sinks), steps=STEPS + 2, resume=f"checkpoint-{STEPS}")
    rows = list(csv.DictReader(sinks[0].open()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert all(float(row["movement"]) > 0 for row in rows)


def test_a_collapse_ends_the_training_if_asked(train, task):
    model = task()
    book = model.net_g.quantizer.codebooks()[0]
    book.embed.add_(1000)
    book.embed[3] = 0
    monitor = TransformersMonitor(every=1, on_collapse="raise")
    with pytest.raises(CodebookCollapsed, match="collapsed: codebook"):
        train(model, TransformersFreeze(), monitor, steps=8)
    assert monitor.monitor.records[-1].collapsed == ("codebook",)
