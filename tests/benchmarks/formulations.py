"""The synthesizer's graph built of torch's own modules: what our classes are measured against."""

import contextlib
import warnings

import torch
from torch import nn
from torch.nn import functional

from vqcheck.synthesizer import attention as attention_module
from vqcheck.synthesizer.attention import FeedForward, MultiHeadAttention
from vqcheck.synthesizer.discriminator import PeriodDiscriminator, SubDiscriminator
from vqcheck.synthesizer.weight_norm import WeightNormColumnConv, WeightNormConv1d, WeightNormConvTranspose1d


def plain(module):
    """Return the module with torch's own convolutions, weight norms and paddings, and a pass for each batch."""
    warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm` is deprecated", FutureWarning)
    with_plain_convolutions(module)
    for each in module.modules():
        if isinstance(each, PeriodDiscriminator):
            lying = each.arrange
            each.arrange = lambda samples, lying=lying: lying(samples).transpose(2, 3).contiguous()
            each.restore = lambda features: features
        if isinstance(each, SubDiscriminator):
            each.forward = lambda *batches, own=each: [own._judged(x, own.convs, own.conv_post) for x in batches]
        if isinstance(each, MultiHeadAttention):
            each._projected = lambda x, context, own=each: (own.conv_q(x), own.conv_k(context), own.conv_v(context))
        if isinstance(each, FeedForward):
            for layer in (each.conv_1, each.conv_2):
                layer.padding, (kernel,) = 0, layer.kernel_size
                layer.register_forward_pre_hook(lambda _, x, k=kernel: functional.pad(x[0], ((k - 1) // 2, k // 2)))
    return module


def with_plain_convolutions(module):
    """Replace every weight-normed convolution by torch's own with torch.nn.utils.weight_norm."""
    classes = {
        WeightNormConv1d: nn.Conv1d,
        WeightNormColumnConv: nn.Conv2d,
        WeightNormConvTranspose1d: nn.ConvTranspose1d,
    }
    for name, child in module.named_children():
        kind = classes.get(type(child))
        if kind is None:
            with_plain_convolutions(child)
            continue
        conv = kind(
            child.in_channels,
            child.out_channels,
            child.kernel_size,
            child.stride,
            child.padding,
            groups=child.groups,
            dilation=child.dilation,
        )
        conv = nn.utils.weight_norm(conv.to(child.weight_v.device))
        conv.load_state_dict(child.state_dict())
        setattr(module, name, conv)


@contextlib.contextmanager
def plain_bands():
    """Let relative positions be placed and collected by an index for each entry of the matrix."""
    kept = attention_module.band_to_matrix, attention_module.matrix_to_band
    attention_module.band_to_matrix, attention_module.matrix_to_band = table_to_matrix, matrix_to_table
    try:
        yield
    finally:
        attention_module.band_to_matrix, attention_module.matrix_to_band = kept


def table_to_matrix(band, window):
    """Place a band by an index for each entry of the matrix."""
    positions = torch.arange(band.size(-2), device=band.device)
    distance = positions[None, :] - positions[:, None]
    inside = distance.abs() <= window
    index = (distance + window).clamp(0, 2 * window).expand(*band.shape[:-2], *distance.shape)
    return band.gather(-1, index) * inside


def matrix_to_table(matrix, window):
    """Collect a band by an index for each of its entries."""
    size = matrix.size(-1)
    index = torch.arange(size, device=matrix.device)[:, None] + torch.arange(2 * window + 1, device=matrix.device)
    padded = functional.pad(matrix, (window, window))
    return padded.gather(-1, index.expand(*matrix.shape[:-2], size, 2 * window + 1))


def frames_along_memory(module):
    """Let the layers of convolutions take frames whose channels lie side by side, as half precision wants them."""

    def lay(_, arguments):
        x, *others = arguments
        return (x.transpose(1, 2).contiguous().transpose(1, 2), *others)

    for name, each in module.named_modules():
        if type(each).__name__ == "WaveNet" or name in ("dec.conv_pre", *(f"dec.ups.{i}" for i in range(5))):
            each.register_forward_pre_hook(lay)
    return module
