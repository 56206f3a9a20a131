"""A monitor measures what the quantizer's own forward used: shares, perplexity, dead codes, error and movement."""

import csv
import json
import math
import warnings

import pytest
import torch
from torch import nn

import vqcheck
from vqcheck.errors import CodebookCollapsed, UsageError

BINS = 16


class Codec(nn.Module):
    """A quantizer of a package, which keeps what came out of it last."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x):
        quantized, self.ids, *_ = self.quantizer(x)
        return quantized.sum()


def codec(kind, **options):
    """Returns a seeded codec in train mode."""
    package = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    return Codec(getattr(package, kind)(dim=8, codebook_size=BINS, **options)).train()


def frames(number):
    return torch.randn(4, 20, 8, generator=torch.Generator().manual_seed(number))


def expected(ids, heads=1):
    """Returns (share of codes used, least perplexity over heads) by numpy's way of counting: bincount."""
    used, spread = 0, []
    for head in ids.reshape(-1, heads).T:
        counts = torch.bincount(head, minlength=BINS)
        used += int((counts > 0).sum())
        shares = counts[counts > 0] / counts.sum()
        spread.append(math.exp(-float((shares * shares.log()).sum())))
    return used / (BINS * heads), min(spread)


def close(a, b):
    return a == pytest.approx(b, rel=1e-4)


def test_one_codebook_is_measured_as_it_is_used(small_model, train):
    """GPT-SoVITS's quantizer: what came out of the layer between two reads, counted by torch.bincount, agrees."""
    model, ids, errors = small_model(), [], []

    def keep(_, args, output):
        ids.append(output[1])
        errors.append(float((output[0] - args[0]).detach().pow(2).mean()))

    model.quantizer.vq.layers[0]._codebook.register_forward_hook(keep)
    start = model.quantizer.vq.layers[0]._codebook.embed.clone()
    with vqcheck.monitor(model, every=3) as use:
        train(model, steps=6, after=use.step)
    assert [record.step for record in use.records] == [3, 6]
    for record, seen, missed in zip(use.records, (ids[:3], ids[3:]), (errors[:3], errors[3:]), strict=True):
        (book,) = record.books
        share, spread = expected(torch.cat([each.reshape(-1) for each in seen]))
        assert (book.book, book.codes, book.frames) == ("codebook", BINS, sum(each.numel() for each in seen))
        assert close(book.share_used, share)
        assert close(book.perplexity, spread)
        assert close(book.error, sum(missed) / 3)
    moved = model.quantizer.vq.layers[0]._codebook.embed - start
    assert close(use.records[-1].books[0].movement, float(moved.norm()))
    assert use.records[-1].books[0].rows_moved == int(moved.any(dim=1).sum())


def test_layers_of_a_residual_chain_are_told_apart():
    """ResidualVQ: each layer has figures of its own, which agree with the codes that the codec returns."""
    model = codec("ResidualVQ", num_quantizers=3)
    use = vqcheck.monitor(model, every=1)
    model(frames(1))
    use.step()
    books = use.records[0].books
    assert len({book.book for book in books}) == 3
    for layer, book in enumerate(books):
        share, spread = expected(model.ids[..., layer])
        assert close(book.share_used, share)
        assert close(book.perplexity, spread)
        assert book.dead == BINS - round(share * BINS)


def test_groups_are_told_apart():
    """GroupedResidualVQ: a codebook for each group and layer."""
    model = codec("GroupedResidualVQ", num_quantizers=2, groups=2)
    use = vqcheck.monitor(model, every=1)
    model(frames(1))
    use.step()
    shares = sorted(book.share_used for book in use.records[0].books)
    ids = model.ids
    assert shares == pytest.approx(sorted(expected(ids[group, ..., layer])[0] for group in (0, 1) for layer in (0, 1)))


def test_heads_have_rows_of_their_own():
    """With a codebook for each head, all heads count and the perplexity is the least of them."""
    model = codec("VectorQuantize", heads=2, separate_codebook_per_head=True)
    use = vqcheck.monitor(model, every=1)
    model(frames(1))
    use.step()
    (book,) = use.records[0].books
    share, spread = expected(model.ids, heads=2)
    assert (book.codes, book.frames) == (2 * BINS, model.ids.numel())
    assert close(book.share_used, share)
    assert close(book.perplexity, spread)


@pytest.mark.parametrize("options", [{}, {"heads": 2, "codebook_dim": 4, "commitment_weight": 0.0}])
def test_padding_that_a_mask_leaves_out_is_not_counted(options):
    """What stands behind the mask is noise, and neither use nor error knows of it; the ids that come out say -1."""
    model, mask = codec("VectorQuantize", **options), torch.arange(20)[None] < torch.tensor([[20], [7], [1], [13]])
    entered, left, ids = [], [], []

    def keep(_, args, output):
        entered.append(args[0])
        left.append(output[0].detach())

    model.quantizer._codebook.register_forward_hook(keep)
    meter = vqcheck.monitor(model, every=3)
    for number in range(3):
        ids.append(model.quantizer(frames(number), mask=mask)[1])
        meter.step()
    (book,) = meter.records[0].books
    kept = torch.cat([each[mask].reshape(-1) for each in ids])
    assert (kept >= 0).all()
    assert book.frames == len(kept)
    assert (book.share_used, book.perplexity) == pytest.approx(expected(kept), rel=1e-4)
    heads = options.get("heads", 1)
    where = mask.repeat_interleave(heads, dim=0)
    errors = [float((a - b).reshape(*where.shape, -1)[where].pow(2).mean()) for a, b in zip(entered, left, strict=True)]
    assert book.error == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_a_codec_of_transformers_is_measured():
    """DAC: the layer returns its codes, and gradients move the codebook."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 2], n_codebooks=2, codebook_size=BINS
    )
    model = transformers.DacModel(config).train()
    use = vqcheck.monitor(model, every=1)
    output = model(torch.randn(2, 1, 512))
    use.step()
    for layer, book in enumerate(use.records[0].books):
        assert close(book.share_used, expected(output.audio_codes[:, layer])[0])
        assert book.movement == 0


def test_validation_does_not_count(small_model, batch):
    """Frames that pass in eval mode are not those of training."""
    model = small_model()
    use = vqcheck.monitor(model, every=1)
    model.eval()(batch())
    model.train()
    with pytest.warns(RuntimeWarning, match="are not measured; movement is"):
        use.step()
    assert use.records[0].books[0].frames == 0
    assert use.records[0].books[0].share_used is None


def test_a_frozen_codebook_is_measured_and_does_not_move(small_model, train):
    """Under freeze, with either kind of encoder, codes are counted and nothing moves."""
    for encoder in ("eval", "learns"):
        model = small_model()
        vqcheck.freeze(model, encoder=encoder)
        use = vqcheck.monitor(model, every=1)
        train(model.train(), steps=1, after=use.step)
        (book,) = use.records[0].books
        assert book.frames
        assert (book.movement, book.rows_moved) == (0, 0)


def test_what_returns_no_codes_is_said_not_guessed(dac_like, train):
    """A quantizer whose forward is never called: one warning, no figures of use, and movement all the same."""
    model = dac_like()
    use = vqcheck.monitor(model, every=1)
    with pytest.warns(RuntimeWarning, match="no forward of a quantizer returned codes") as warned:
        train(model, steps=2, after=use.step)
    assert len(warned) == 1
    book = use.records[-1].books[0]
    assert (book.share_used, book.perplexity, book.dead, book.error, book.collapsed) == (None,) * 5
    assert book.movement > 0


def collapsing(small_model):
    """Returns a model of which one code is the nearest to every frame."""
    model = small_model()
    book = model.quantizer.vq.layers[0]._codebook
    book.embed.add_(1000)
    book.embed[3] = 0
    model.quantizer.eval()
    return model


@pytest.mark.parametrize("action", ["warn", "raise", "call"])
def test_a_collapse_is_told_in_the_way_that_was_asked_for(small_model, batch, action):
    """As soon as as many frames as codes came to one code: a warning, an error, or a call."""
    model, calls = collapsing(small_model), []
    use = vqcheck.monitor(model, every=1, on_collapse=calls.append if action == "call" else action)

    def run():
        for number in range(2):
            model.quantizer(model.ssl_proj(batch(number)))
            use.step()

    if action == "raise":
        with pytest.raises(CodebookCollapsed, match="collapsed: codebook") as caught:
            run()
        calls.append(caught.value)
    elif action == "warn":
        with pytest.warns(RuntimeWarning, match="collapsed: codebook"):
            run()
    else:
        run()
    assert [call.record.collapsed for call in calls] == ([("codebook",)] if action != "warn" else [])
    assert [record.books[0].collapsed for record in use.records][-1] is True


def test_a_sound_codebook_and_few_frames_are_no_collapse(small_model, batch, train):
    """Fewer frames than codes decide nothing; a codebook in use stays silent."""
    model = small_model()
    use = vqcheck.monitor(model, every=1, on_collapse="raise")
    model(batch()[:1, :, :2])
    use.step()
    assert use.records[-1].books[0].collapsed is None
    train(model, steps=4, after=use.step)
    assert use.records[-1].books[0].collapsed is not None or use.records[-2].books[0].collapsed is not None
    assert not any(record.collapsed for record in use.records)


class Writer:
    """Keeps what a SummaryWriter is given."""

    def __init__(self):
        self.scalars = {}

    def add_scalar(self, tag, value, step):
        self.scalars[tag, step] = value


def test_sinks_get_every_read(small_model, train, tmp_path):
    """TensorBoard's scalars, CSV, JSON lines and a callable say the same; files are gone on with."""
    writer, records = Writer(), []
    model = small_model()
    paths = tmp_path / "use.csv", str(tmp_path / "use.jsonl")
    for _ in range(2):
        with vqcheck.monitor(model, every=2, sinks=[writer, *paths, records.append]) as use:
            train(model, steps=2, after=use.step)
    rows = list(csv.DictReader(paths[0].open()))
    lines = list(map(json.loads, (tmp_path / "use.jsonl").read_text().splitlines()))
    assert len(rows) == len(lines) == len(records) == 2
    for row, line, record in zip(rows, lines, records, strict=True):
        (book,) = record.books
        assert float(row["perplexity"]) == line["perplexity"] == book.perplexity
        assert int(row["step"]) == line["step"] == 2
    assert writer.scalars["codebook/share_used", 2] == records[-1].books[0].share_used
    assert records[-1].scalars()["codebook/movement"] == records[-1].books[0].movement


def test_figures_and_repr_are_for_people(small_model, train):
    """One line, a table, and a curve for each figure."""
    model = small_model()
    use = vqcheck.monitor(model, every=1)
    train(model, steps=2, after=use.step)
    assert repr(use).startswith("<monitor after 2 steps; step 2: codebook: ")
    assert use._repr_html_().count("<tr>") == 2
    assert [step for step, _ in use.figures().series("perplexity")["codebook"]] == [1, 2]
    assert use.figures()._repr_html_().count("<polyline") == 5


def test_remove_leaves_no_hook(small_model):
    """After remove() the model is as it was."""
    model = small_model()
    vqcheck.monitor(model).remove()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every: expected a number of steps"),
        ({"on_collapse": "stop"}, "on_collapse: expected"),
        ({"sinks": ["use.txt"]}, r"use\.txt: a monitor writes \.csv and \.jsonl files"),
        ({"sinks": [3]}, "sinks: expected a path"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(small_model, options, said):
    """The error names the argument, and no hook stays behind."""
    model = small_model()
    with pytest.raises(UsageError, match=said):
        vqcheck.monitor(model, **options)
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_waits_for_the_device_between_reads(small_model, batch):
    """No operator that takes a value to the host runs in a step that does not read."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Waits(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Waits.seen += "_local_scalar_dense" in str(func) or "nonzero" in str(func)
            return func(*args, **(kwargs or {}))

    model = collapsing(small_model)
    with Waits():
        model(batch())
        of_the_model = Waits.seen
        use = vqcheck.monitor(model, every=2)
        Waits.seen = 0
        model(batch())
        use.step()
        quiet = Waits.seen
        use.step()
    assert quiet == of_the_model > 0
    assert use.records[0].books[0].frames > 0


def test_no_warning_where_codes_were_seen(small_model, train):
    """A measured model trains without a word."""
    model = small_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with vqcheck.monitor(model, every=1, on_collapse="warn") as use:
            train(model, steps=2, after=use.step)
    assert use.records
