"""The digest is that of its specification, and of the stored values alone."""

import hashlib
import math
import struct

import pytest
import torch
from safetensors.torch import save_file

from vqcheck import open_checkpoint
from vqcheck.codebook.inspection import inspect

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


def digests(path):
    with open_checkpoint(path) as checkpoint:
        return inspect(checkpoint).vq_encoder


def test_vectors_by_the_words_of_the_specification(save):
    """Digests computed from the specification with hashlib and struct alone are the ones vqcheck gives."""
    state = {
        f"{CODEBOOK}.inited": torch.tensor([1.0]),
        f"{CODEBOOK}.cluster_size": torch.tensor([3.0, 4.5]),
        EMBED: torch.tensor([[1.0, -0.0, 2.5], [1e-7, 70000.0, float("inf")]]),
        f"{CODEBOOK}.embed_avg": torch.tensor([[3.0, 0.0, 7.5], [0.0, 1.0, 2.0]]),
        "ssl_proj.weight": torch.tensor([[[0.5, -0.5]]]),
        "ssl_proj.bias": torch.tensor([0.25]),
    }

    def of(header, data):
        return hashlib.sha256(header.encode() + data).hexdigest()

    def floats(*values):
        return struct.pack(f"<{len(values)}f", *values)

    codes = (1.0, -0.0, 2.5, struct.unpack("<f", struct.pack("<f", 1e-7))[0], 70000.0, float("inf"))
    expected = [
        ("0 codes", of("sha256-f32v1 codes float32 1x2x3\n", floats(*codes))),
        ("0 ema_sum", of("sha256-f32v1 ema_sum float32 1x2x3\n", floats(3, 0, 7.5, 0, 1, 2))),
        ("0 ema_count", of("sha256-f32v1 ema_count float32 1x2\n", floats(3, 4.5))),
        ("0 init_flag", of("sha256-f32v1 init_flag bool scalar\n", b"\x01")),
        ("- input_proj.weight", of("sha256-f32v1 input_proj.weight float32 1x1x2\n", floats(0.5, -0.5))),
        ("- input_proj.bias", of("sha256-f32v1 input_proj.bias float32 1\n", floats(0.25))),
    ]
    lines = [f"{label} {digest}\n" for label, digest in expected]
    encoder = digests(save(state))
    assert [digest.hex for _, digest in encoder.f32.tensors] == [digest for _, digest in expected]
    assert encoder.f32.codebook.hex == of("".join(lines[:4]), b"")
    assert encoder.f32.projection.hex == of("".join(lines[4:]), b"")
    assert encoder.f32.vq_encoder.hex == of("".join(lines), b"")

    halves = b"\x00\x3c\x00\x80\x00\x41\x02\x00\x00\x7c\x00\x7c"  # 70000 rounds to infinity, 1e-7 to 2 * 2**-24
    assert dict(encoder.f16.tensors)["codes"].hex == of("sha256-f16v1 codes float16 1x2x3\n", halves)


def of(header, values):
    return hashlib.sha256(header.encode() + struct.pack(f"<{len(values)}f", *values)).hexdigest()


def combined(*lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def weight(*values):
    return torch.tensor([list(values)])


def test_output_projections_of_a_residual_chain_by_the_words_of_the_specification(save):
    """Each layer's output projection but the last one's is a line behind its codebook's, with the codebook's number."""
    layer = "quantizer.quantizers.{}.{}"
    state = {}
    for number in range(2):
        state[layer.format(number, "codebook.weight")] = weight(1.0 + number, 2.0)
        state[layer.format(number, "in_proj.weight")] = weight(3.0 + number, 4.0)
        state[layer.format(number, "out_proj.weight")] = weight(5.0 + number, 6.0)
        state[layer.format(number, "out_proj.bias")] = torch.tensor([7.0 + number])
    codes = [of("sha256-f32v1 codes float32 1x1x2\n", (1.0 + number, 2.0)) for number in range(2)]
    front = [of("sha256-f32v1 input_proj.weight float32 1x2\n", (3.0 + number, 4.0)) for number in range(2)]
    behind = of("sha256-f32v1 output_proj.weight float32 1x2\n", (5.0, 6.0))
    bias = of("sha256-f32v1 output_proj.bias float32 1\n", (7.0,))
    lines = [
        f"0 codes {codes[0]}",
        f"0 output_proj.weight {behind}",
        f"0 output_proj.bias {bias}",
        f"1 codes {codes[1]}",
    ]
    inputs = [f"- input_proj.weight {digest}" for digest in front]
    found = digests(save(state)).f32
    assert found.codebook.hex == combined(*lines)
    assert found.projection.hex == combined(*inputs)
    assert found.vq_encoder.hex == combined(*lines, *inputs)


def test_output_projections_of_a_shared_codebook_by_the_words_of_the_specification(save):
    """A codebook that three layers share counts once, and the projections of its further places say where they are."""
    shared, counts = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[3.0]])
    state = {}
    for number in range(3):
        state |= {f"layers.{number}._codebook.embed": shared, f"layers.{number}._codebook.cluster_size": counts}
        state[f"layers.{number}.project_out.weight"] = weight(5.0 + number, 6.0)
    behind = [of("sha256-f32v1 output_proj.weight float32 1x2\n", (5.0 + number, 6.0)) for number in range(2)]
    assert digests(save(state)).f32.codebook.hex == combined(
        f"0 codes {of('sha256-f32v1 codes float32 1x1x2' + chr(10), (1.0, 2.0))}",
        f"0 ema_count {of('sha256-f32v1 ema_count float32 1x1' + chr(10), (3.0,))}",
        "0 tied 0.0 0.1 0.2",
        f"0 output_proj.weight {behind[0]}",
        f"0 output_proj.weight at 0.1 {behind[1]}",
    )


def test_an_output_projection_that_is_fed_back_by_the_words_of_the_specification(save):
    """One behind all lookups that a later lookup depends on says behind which book and group it stands."""
    state = {"quantize.embedding.weight": weight(1.0, 2.0), "quantize.quant_resi.weight": weight(5.0, 6.0)}
    state["post_quant_conv.weight"] = weight(8.0, 9.0)
    behind = of("sha256-f32v1 output_proj.quant_resi.weight float32 1x2\n", (5.0, 6.0))
    assert digests(save(state)).f32.codebook.hex == combined(
        f"0 codes {of('sha256-f32v1 codes float32 1x1x2' + chr(10), (1.0, 2.0))}",
        f"0 output_proj.quant_resi.weight behind 0.0 {behind}",
    )


RELEASED = {
    "base_v2.pth": "a999277e57d91009e86fa5f7f0d281b5b8692c5cfa20462f75c1793c2c069235",
    "drifted_v2_e8_s400.pth": "77206fcda7c2d536aa0de176a14b95ed8d64b6298e3e5613df340fc0471b96eb",
    "never_trained_v2.pth": "51500bb2ac7cadb088260d8d253386dd5992ddaea7429cd2dc6dfd16f5a0ab04",
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_digest_never_changes(checkpoints, name):
    """The committed files have for ever the digests that this version gave them."""
    assert digests(checkpoints / name).f32.vq_encoder.hex == RELEASED[name]


@pytest.mark.parametrize(
    "name", ["G_400.pth", "frozen_v2_e8_s400.pth", "base_v2.safetensors", "sovits_v2pro_e2_s100.pth"]
)
def test_container_and_width_are_not_part_of_it(checkpoints, name):
    """A frozen float32 training file, its float16 export, a Pro file and a safetensors file share the base's digest."""
    base, other = digests(checkpoints / "base_v2.pth"), digests(checkpoints / name)
    assert (other.f32.vq_encoder, other.f16.vq_encoder) == (base.f32.vq_encoder, base.f16.vq_encoder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_lossless_widening_keeps_it(vq_state, save, tmp_path, dtype):
    """Values that a narrow type holds have one digest, stored narrow or wide."""
    narrow = {name: value.to(dtype) for name, value in vq_state().items()}
    wide = {name: value.float() for name, value in narrow.items()}
    save_file({name: value.contiguous() for name, value in narrow.items()}, tmp_path / "narrow.safetensors")
    assert digests(tmp_path / "narrow.safetensors").f32 == digests(save(wide)).f32


@pytest.mark.parametrize("name", [EMBED, f"{CODEBOOK}.cluster_size", f"{CODEBOOK}.embed_avg", "ssl_proj.bias"])
def test_one_bit_changes_it(vq_state, save, name):
    """Flipping the lowest bit of one value changes the tensor's digest, the whole digest, and no other tensor's."""
    state = vq_state()
    before = digests(save(state))
    state[name].view(torch.int32).flatten()[0] ^= 1
    after = digests(save(state))
    assert before.f32.vq_encoder != after.f32.vq_encoder
    changed = [label for (label, a), (_, b) in zip(before.f32.tensors, after.f32.tensors, strict=True) if a != b]
    assert len(changed) == 1


def test_the_sign_of_zero_counts(vq_state, save):
    """-0.0 and 0.0 are different stored values."""
    state = vq_state()
    state[EMBED][0, 0] = 0.0
    before = digests(save(state)).f32.codebook
    state[EMBED][0, 0] = -0.0
    assert digests(save(state)).f32.codebook != before


def test_the_half_digest_judges_an_export_by_its_float32_original(vq_state, save):
    """sha256-f16v1 of a float32 file is that of its float16 export, while sha256-f32v1 tells them apart."""
    wide = vq_state()
    narrow = {name: value.half() for name, value in wide.items()}
    a, b = digests(save(wide, "a.pth")), digests(save(narrow, "b.pth"))
    assert a.f16 == b.f16
    assert a.f32.vq_encoder != b.f32.vq_encoder


def test_the_bfloat16_digest_judges_an_export_by_its_float32_original(vq_state, save):
    """sha256-bf16v1 of a float32 file, large and tiny values included, is that of its bfloat16 export by torch."""
    wide = vq_state()
    wide[EMBED][0] = torch.tensor([3.39e38, -3.4e38, 1e-40, -0.0, math.nan, math.inf, 1.00390625, 1.01171875])
    narrow = {name: value.bfloat16() for name, value in wide.items()}
    a, b = digests(save(wide, "a.pth")), digests(save(narrow, "b.pth"))
    assert a.bf16 == b.bf16
    assert a.f16 != b.f16
    narrow[EMBED][3, 3] *= 2
    assert digests(save(narrow, "b.pth")).bf16.codebook != a.bf16.codebook


def test_doubles_have_the_digest_of_the_singles_they_are(vq_state, save):
    """float64 copies of float32 values have their digests; with one value between two singles they have their own."""
    single = vq_state()
    single[EMBED][0, :3] = torch.tensor([-0.0, math.inf, 1e-45])
    double = {name: value.double() for name, value in single.items()}
    a, b = digests(save(single, "a.pth")), digests(save(double, "b.pth"))
    assert (a.f32, a.f16, a.bf16) == (b.f32, b.f16, b.bf16)
    double[EMBED][5, 5] *= 1 + 2.0**-40
    after = digests(save(double, "b.pth"))
    assert after.f32.codebook != a.f32.codebook
    codes = double[EMBED].numpy().tobytes()
    expected = hashlib.sha256(b"sha256-f32v1 codes float64 1x16x8\n" + codes).hexdigest()
    assert dict(after.f32.tensors)["codes"].hex == expected


def test_half_a_vq_encoder_has_no_whole_digest(checkpoints):
    """A LoRA export without ssl_proj has a codebook digest, the base's, and none for projection and whole."""
    lora, base = digests(checkpoints / "lora_v3_e2_s50_l32.pth").f32, digests(checkpoints / "base_v2.pth").f32
    assert (lora.projection, lora.vq_encoder) == (None, None)
    assert lora.codebook == base.codebook
