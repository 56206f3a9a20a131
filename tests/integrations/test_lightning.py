"""The callbacks under Lightning's own Trainer: they see what happens in `fit`, and go on after a resume."""

import csv

import pytest
import torch

from vqcheck.errors import CodebookChanged, CodebookCollapsed, NoCodebookError

lightning = pytest.importorskip("lightning", reason="needs the group integrations: lightning is not installed")
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from lightning.pytorch.loggers import CSVLogger  # noqa: E402

from vqcheck.integrations.lightning import LightningFreeze, LightningGuard, LightningMonitor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]
STEPS = 4


@pytest.fixture
def task(small_model):
    """Makes a LightningModule around the small model as `net_g`; `write` is called before a step."""

    def make(write=lambda _net, _step: None):
        class Task(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net_g = small_model()

            def training_step(self, batch, _):
                write(self.net_g, self.global_step + 1)
                return self.net_g(batch)

            def validation_step(self, batch, _):
                self.log("validation", self.net_g(batch))

            def configure_optimizers(self):
                return torch.optim.AdamW(self.parameters(), 1e-2)

        return Task()

    return make


@pytest.fixture
def fit(tmp_path, batches):
    """Fits in one process on the CPU; returns the Trainer."""

    def run(model, *callbacks, steps=STEPS, ckpt_path=None, **options):
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_steps=steps,
            default_root_dir=tmp_path,
            callbacks=[*callbacks, ModelCheckpoint(tmp_path, "last", every_n_train_steps=1)],
            logger=options.pop("logger", False),
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"limit_val_batches": 0, **options},
        )
        torch.manual_seed(1)
        loaders = [torch.utils.data.DataLoader(batches, batch_size=None, num_workers=0) for _ in range(2)]
        trainer.fit(model, *loaders, ckpt_path=ckpt_path)
        return trainer

    return run


def test_a_guard_ends_the_fit_at_the_first_look(fit, task):
    guard = LightningGuard(every=1)
    with pytest.raises(CodebookChanged, match=r"first in step 1\n    written by .*_move_averages"):
        fit(task(), guard)
    assert guard.guard.steps == 2


def test_a_frozen_fit_is_silent_and_what_is_behind_learns(fit, task, vq_encoder, changed):
    model = task()
    before, decoder = vq_encoder(model.net_g), model.net_g.decoder.weight.clone()
    guard = LightningGuard(every=1)
    with pytest.warns(RuntimeWarning, match="stop learning"):
        fit(model, LightningFreeze(), guard)
    assert guard.guard.steps == STEPS
    assert changed(model.net_g, before) == set()
    assert not torch.equal(model.net_g.decoder.weight, decoder)


def test_without_freeze_the_codebook_moves(fit, task, vq_encoder, changed):
    """The control of the test above."""
    model = task()
    before = vq_encoder(model.net_g)
    fit(model)
    assert "quantizer.vq.layers.0._codebook.embed" in changed(model.net_g, before)


@pytest.mark.parametrize("validations", [0, 1], ids=["no validation", "a validation after each batch"])
def test_the_encoder_learns_through_validations(fit, task, vq_encoder, changed, validations):
    """Lightning gives `training` back without train(): the gradient to the encoder stays, and the codes too."""
    model, gradients = task(), []
    before = vq_encoder(model.net_g)
    model.on_after_backward = lambda: gradients.append(float(model.net_g.encoder.weight.grad.abs().sum()))
    fit(
        model,
        LightningFreeze(encoder="learns", module="net_g"),
        LightningGuard(every=1),
        limit_val_batches=validations,
        val_check_interval=1,
    )
    assert len(gradients) == STEPS
    assert all(gradients)
    assert changed(model.net_g, before) == set()


def test_a_guard_goes_on_after_a_resume(fit, task, tmp_path):
    """The step of the change is one of the whole run, and the checkpoint is read by torch's strict reader."""

    def write(net, step):
        if step == STEPS + 2:
            net.quantizer.codebooks()[0].embed.data[3] += 1

    fit(task(), LightningFreeze(), LightningGuard(every=2))
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["LightningGuard"]
    assert state["steps"] == STEPS
    assert len(state["digests"]) == 6
    guard = LightningGuard(every=2)
    with pytest.raises(CodebookChanged, match=f"first in step {STEPS + 2}"):
        fit(task(write), LightningFreeze(), guard, steps=STEPS + 4, ckpt_path=tmp_path / "last.ckpt")
    assert guard.guard.steps == STEPS + 3


def test_another_codebook_in_the_checkpoint_ends_the_resume(fit, task, tmp_path):
    fit(task(), LightningFreeze(), LightningGuard())
    path = tmp_path / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["net_g.quantizer.vq.layers.0._codebook.embed"][3] += 1
    torch.save(checkpoint, tmp_path / "edited.ckpt")
    with pytest.raises(CodebookChanged, match=f"resumed after step {STEPS}; it differs in net_g.*embed$"):
        fit(task(), LightningGuard(), steps=STEPS + 2, ckpt_path=tmp_path / "edited.ckpt")


def test_a_resumed_run_is_frozen_as_its_checkpoint_is(fit, task, tmp_path, vq_encoder, changed):
    """Weights that come with the checkpoint are the ones that are held, also where the new model has none yet."""
    first, second = task(), task()
    fit(first)
    second.net_g.quantizer.codebooks()[0].embed.zero_()
    second.net_g.quantizer.codebooks()[0].inited.zero_()
    before = vq_encoder(first.net_g)
    fit(second, LightningFreeze(module="net_g"), steps=STEPS + 2, ckpt_path=tmp_path / "last.ckpt")
    assert changed(second.net_g, before) == set()


def test_a_monitor_reaches_loggers_and_sinks_and_goes_on(fit, task, tmp_path):
    logger = CSVLogger(tmp_path, "log", version=0)
    fit(task(), LightningMonitor(every=2, sinks=[tmp_path / "use.csv"]), logger=logger)
    logger.save()
    logged = list(csv.DictReader((tmp_path / "log/version_0/metrics.csv").open()))
    assert [int(row["step"]) for row in logged if row["codebook/perplexity"]] == [2, 4]
    fit(
        task(),
        LightningMonitor(every=2, sinks=[tmp_path / "use.csv"]),
        steps=STEPS + 2,
        ckpt_path=tmp_path / "last.ckpt",
    )
    rows = list(csv.DictReader((tmp_path / "use.csv").open()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert all(float(row["movement"]) > 0 for row in rows)


def test_a_collapse_ends_the_fit_if_asked(fit, task):
    model = task()
    book = model.net_g.quantizer.codebooks()[0]
    book.embed.add_(1000)
    book.embed[3] = 0
    monitor = LightningMonitor(every=1, on_collapse="raise")
    with pytest.raises(CodebookCollapsed, match="collapsed: codebook"):
        fit(model, LightningFreeze(), monitor, steps=8)
    assert monitor.monitor.records[-1].collapsed == ("codebook",)


def test_a_model_without_a_codebook_is_said_when_the_fit_begins(fit, task):
    model = task()
    model.net_g.quantizer = torch.nn.Identity()
    with pytest.raises(NoCodebookError):
        fit(model, LightningFreeze())
