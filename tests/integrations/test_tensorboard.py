"""A monitor writes what TensorBoard reads."""

import pytest
import torch

import vqcheck

pytest.importorskip("tensorboard", reason="needs the group integrations: tensorboard is not installed")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_a_summary_writer_is_a_sink(small_model, batches, tmp_path):
    """The curve that is read back from the file is that of the records."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = small_model()
    with SummaryWriter(tmp_path) as writer, vqcheck.monitor(model, every=2, sinks=[writer]) as use:
        for batch in batches:
            model(batch).backward()
            use.step()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    read = [(each.step, each.value) for each in events.Scalars("codebook/perplexity")]
    assert read == [(step, pytest.approx(value)) for step, value in use.figures().series("perplexity")["codebook"]]
    assert [step for step, _ in read] == [2, 4, 6, 8]
    assert torch.isfinite(torch.tensor([value for _, value in read])).all()
