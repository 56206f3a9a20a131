"""A rounding is no change only where the narrower file is the later one: the files say which it is."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.codebook.file_record import Order
from vqcheck.report.render import html, json, text
from vqcheck.report.views.diff import view

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "cluster_size"))
INFO = "8epoch_400iteration"


@pytest.fixture
def write(tmp_path):
    """Writes a state dict as the kind of file that its name says, as the trainers do; returns its path."""

    def make(name, state):
        weight = dict(state)
        content = {
            "G": {"model": weight, "iteration": 8, "optimizer": {"state": {}}, "learning_rate": 1e-4},
            "b": {"weight": weight, "config": {}},
            "e": {"weight": weight, "config": {}, "info": INFO},
            "l": {"state_dict": weight, "epoch": 3, "global_step": 400, "optimizer_states": [{}]},
            "s": {"state_dict": weight, "epoch": 3, "global_step": 400},
            "w": weight,
        }[name[0]]
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return make


def diff(a, b, order=None):
    with open_checkpoint(a) as first, open_checkpoint(b) as second:
        return compare(first, second, order=order)


def to(state, dtype):
    return {name: value.to(dtype) for name, value in state.items()}


def moved_by_half_a_step(half):
    """Return float32 values, none of them the float16 ones, that float16 rounds to exactly these."""
    moved = {}
    for name, value in half.items():
        away = torch.nextafter(value, torch.full_like(value, 6e4)).float() - value.float()
        moved[name] = value.float() + (0 if name.endswith("inited") else 0.49) * away
        assert torch.equal(moved[name].half(), value)
    return moved


@pytest.mark.parametrize("base", [torch.float16, torch.float32])
def test_the_commonest_flows_stay_green_when_frozen(vq_state, write, base):
    """A base, the frozen float32 training files made from it (also Lightning's) and their float16 exports all agree."""
    start = to(vq_state(), base)
    trained = to(start, torch.float32)
    files = [
        write("base.pth", start),
        write("G_400.pth", trained),
        write("lightning.ckpt", trained),
        write("e_e8_s400.pth", to(trained, torch.float16)),
        write("s.ckpt", to(trained, torch.float16)),
    ]
    narrow = {"e_e8_s400.pth", "s.ckpt"}
    for number, a in enumerate(files):
        for b in files[number + 1 :]:
            same = base is torch.float16 or (a.name in narrow) == (b.name in narrow)
            for result in (diff(a, b), diff(b, a)):
                assert (result.verdict, result.exit_code) == ("identical" if same else "rounded", 0), (a, b)
                assert not result.undecided


def test_a_frozen_lora_run_stays_green(vq_state, write):
    """float16 base, float32 training file with the adapters, float16 export without ssl_proj."""
    adapters = {"cfm.to_q.lora_A.default.weight": torch.randn(2)}
    base = to(vq_state(), torch.float16)
    kept = {name: value for name, value in base.items() if not name.startswith("ssl_proj")}
    a = write("base.pth", base)
    g = write("G_50.pth", to(base, torch.float32) | adapters)
    e = write("e_e2_s50_l32.pth", kept | to(adapters, torch.float16))
    for pair in ((a, g), (a, e), (g, e), (e, g)):
        assert diff(*pair).verdict == "identical"
    assert {tensor.label for tensor in diff(g, e).not_stored} == {"input_proj.weight", "input_proj.bias"}


def test_a_training_file_that_moved_by_less_than_a_step_of_its_base_is_changed(vq_state, write):
    """Every weight of the float32 training file moved by half a float16 step: both ways round, for every later file."""
    base = to(vq_state(), torch.float16)
    moved = moved_by_half_a_step(base)
    a = write("base.pth", base)
    for name in ("G_400.pth", "lightning.ckpt", "s.ckpt", "e_e8_s400.pth"):
        b = write(name, moved)
        for result in (diff(a, b), diff(b, a)):
            assert (result.verdict, result.exit_code) == ("changed", 1)
            (cause,) = result.diagnosis.causes
            assert cause.code == "moved-within-a-step"
            largest = max(float((moved[key] - value.float()).abs().max()) for key, value in base.items())
            assert cause.evidence.largest == pytest.approx(largest)
            assert {"codes", "ema_sum", "ema_count", "input_proj.weight"} <= set(cause.evidence.tensors)


def test_the_export_of_a_drifted_run_is_that_runs(vq_state, write):
    """An export was made from its run's training file, whatever the steps say: `rounded`."""
    half = to(vq_state(), torch.float16)
    g, e = write("G_800.pth", moved_by_half_a_step(half)), write("e_e8_s400.pth", half)
    assert diff(g, e).verdict == diff(e, g).verdict == "rounded"
    assert diff(g, e).diagnosis.causes[0].evidence.undecided is False


def test_without_a_word_in_either_file_both_readings_stand(vq_state, write):
    """Bare weights that are a rounding of bare weights: status 0, and it is said that it may be training."""
    half = to(vq_state(), torch.float16)
    a, b = write("w.pth", half), write("wide.pth", moved_by_half_a_step(half))
    for result, narrower in ((diff(a, b), "A"), (diff(b, a), "B")):
        assert (result.verdict, result.exit_code) == ("rounded", 0)
        (cause,) = result.diagnosis.causes
        assert (cause.evidence.undecided, cause.evidence.narrower) == (True, narrower)
        assert {tensor.label for tensor in result.undecided} >= {"codes", "input_proj.weight"}


def test_a_caller_that_knows_the_order_is_believed(vq_state, write):
    """What `history` against a base and the gate know: the wider later file was trained, the narrower one rounded."""
    half = to(vq_state(), torch.float16)
    a, b = write("w.pth", half), write("wide.pth", moved_by_half_a_step(half))
    assert diff(a, b, Order.A_FIRST).verdict == "changed"
    assert diff(a, b, Order.B_FIRST).verdict == "rounded"


def test_the_later_step_of_one_run_must_be_the_narrower(vq_state, write):
    """Training files of one run are ordered by their steps."""
    half = to(vq_state(), torch.float16)
    wide = moved_by_half_a_step(half)
    assert diff(write("G_100.pth", wide), write("G_200.pth", half)).verdict == "rounded"
    assert diff(write("G_100.pth", half), write("G_200.pth", wide)).verdict == "changed"


def test_roundings_in_both_directions_are_no_rounding(vq_state, write):
    """Codes are rounded in B and the projection in A: no order of the two makes both an export."""
    state = vq_state()
    a = state | {"ssl_proj.weight": state["ssl_proj.weight"].half().float()}
    b = state | {EMBED: state[EMBED].half().float()}
    assert diff(write("w1.pth", a), write("w2.pth", b)).verdict == "changed"


@pytest.mark.parametrize(
    "dtypes", [("float16", "bfloat16"), ("float8_e4m3fn", "float8_e5m2"), ("bfloat16", "float8_e5m2")]
)
def test_two_exports_of_one_file_agree_in_any_order(vq_state, write, dtypes):
    """float16, bfloat16 and 8-bit exports of one training file are roundings of one source; a moved code is none."""
    state = vq_state(codes=8)
    a, b = (to(state, getattr(torch, dtype)) for dtype in dtypes)
    first, second = write("e_e8_s400.pth", a), write("ex_e8_s400.pth", b)
    for result in (diff(first, second), diff(second, first)):
        assert (result.verdict, result.exit_code) == ("rounded", 0)
        assert not result.undecided
    b[EMBED] = to({EMBED: state[EMBED] * 1.5}, getattr(torch, dtypes[1]))[EMBED]
    assert diff(first, write("ey_e8_s400.pth", b)).verdict == "changed"


def test_a_training_file_in_half_precision_is_no_export_of_its_narrower_base(vq_state, write):
    """A float16 training file that moved within a step of its bfloat16 base is changed; frozen it is identical."""
    base = to(vq_state(), torch.bfloat16)
    a = write("base.pth", base)
    assert diff(a, write("G_1.pth", to(base, torch.float16))).verdict == "identical"
    moved = to(base, torch.float16)
    moved[EMBED] = (base[EMBED].float() * (1 + 2**-10)).half()
    assert not torch.equal(moved[EMBED].float(), base[EMBED].float())
    assert torch.equal(moved[EMBED].bfloat16(), base[EMBED])
    assert diff(a, write("G_2.pth", moved)).verdict == "changed"


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2fnuz", "float64"])
def test_lossless_widening_is_identical(vq_state, write, name):
    """The same values in float32 and in another type that holds them all, the sign of zero included."""
    narrow = to(vq_state(), torch.float32 if name == "float64" else getattr(torch, name))
    narrow[EMBED][0, 0] = 0.0
    same = to(narrow, torch.float64 if name == "float64" else torch.float32)
    result = diff(write("w.pth", narrow), write("w2.pth", same))
    assert (result.verdict, result.exit_code) == ("identical", 0)
    assert result.a.digests == result.b.digests
    same[EMBED][0, 0] = -0.0
    assert diff(write("w.pth", narrow), write("w3.pth", same)).verdict == "changed"


def test_doubles_that_are_no_singles_round_to_them(vq_state, write):
    """A float64 file and its float32 copy: both readings, or an export where the files say so; never identical."""
    wide = {name: value.double() * (1 + 1e-12) for name, value in vq_state().items()}
    result = diff(write("G_4.pth", wide), write("e_e8_s400.pth", to(wide, torch.float32)))
    assert (result.verdict, result.exit_code) == ("rounded", 0)


def test_values_that_differ_in_last_places_everywhere_are_changed_and_named_so(vq_state, write):
    """An average of a file with itself, summed in another order; one flipped bit of one code is not called that."""
    state = vq_state()
    apart = {
        name: value if name.endswith("inited") else torch.nextafter(value, torch.full_like(value, 1e9))
        for name, value in state.items()
    }
    result = diff(write("w.pth", state), write("w2.pth", apart))
    assert result.verdict == "changed"
    assert [cause.code for cause in result.diagnosis.causes] == ["last-places"]
    assert result.diagnosis.causes[0].evidence.ulps == 1
    one = state | {EMBED: state[EMBED].clone()}
    one[EMBED].view(torch.int32)[2, 2] ^= 1
    codes = [cause.code for cause in diff(write("w.pth", state), write("w3.pth", one)).diagnosis.causes]
    assert codes == ["edited"]


def layers(weights, *, fused):
    """Return one layer of DAC whose projection is weight-normed, or the same one fused, in the type of its parts."""
    path = "quantizer.quantizers.0"
    state = {name: value for name, value in weights.items() if not name.startswith("in_proj.weight")}
    g, v = weights["in_proj.weight_g"], weights["in_proj.weight_v"]
    state |= (
        {"in_proj.weight": torch._weight_norm(v, g, 0)} if fused else {"in_proj.weight_g": g, "in_proj.weight_v": v}
    )
    return {f"{path}.{name}": value for name, value in state.items()}


@pytest.mark.parametrize("fused", [False, True])
def test_a_weight_normed_layer_that_moved_by_less_than_a_step_is_changed(write, fused):
    """In whatever form the later float32 file stores it; frozen, it is equal up to what calculating it loses."""
    generator = torch.Generator().manual_seed(0)
    half = {
        "codebook.weight": torch.randn(16, 4, generator=generator),
        "in_proj.weight_g": torch.rand(4, 1, 1, generator=generator) + 0.5,
        "in_proj.weight_v": torch.randn(4, 8, 1, generator=generator),
        "in_proj.bias": torch.randn(4, generator=generator),
    }
    half = to(half, torch.float16)
    base = write("base.pth", layers(half, fused=False))
    assert diff(base, write("G_1.pth", layers(to(half, torch.float32), fused=fused))).exit_code == 0
    moved = to(half, torch.float32)
    moved["in_proj.weight_v"] = moved_by_half_a_step(half)["in_proj.weight_v"]
    moved["in_proj.weight_v"][:, ::2] = half["in_proj.weight_v"][:, ::2].float()
    training = write("G_2.pth", layers(moved, fused=fused))
    assert diff(base, training).exit_code == diff(training, base).exit_code == 1


@pytest.mark.parametrize("case", ["undecided", "moved-within-a-step", "last-places", "rounding-only"])
def test_each_reading_is_told_in_every_format(vq_state, write, valid, case):
    """JSON fits its schema with kinds, order and readings; text, page and cases are written, and name what happened."""
    half = to(vq_state(), torch.float16)
    near = {
        name: value if name.endswith("inited") else torch.nextafter(value, torch.tensor(1e9))
        for name, value in vq_state().items()
    }
    a, b = {
        "undecided": ("w.pth", "w2.pth"),
        "moved-within-a-step": ("base.pth", "G_2.pth"),
        "last-places": ("w.pth", "w2.pth"),
        "rounding-only": ("e_e8_s400.pth", "G_2.pth"),
    }[case]
    first = vq_state() if case == "last-places" else half
    second = near if case == "last-places" else moved_by_half_a_step(half)
    result = diff(write(a, first), write(b, second))
    document = valid(json.render(view(result)))
    assert document["order"] == {"b": "A first", "e": "B first", "w": "unknown"}[a[0]]
    assert document["diagnosis"]["causes"][0]["code"] == ("rounding-only" if case == "undecided" else case)
    words = {
        "undecided": "either A was exported from B, or B was trained from A",
        "moved-within-a-step": "B was trained on from A and moved by less than a step of float16: by",
        "last-places": "1 ulp at most",
        "rounding-only": "A is B rounded to float16",
    }[case]
    told = view(result)
    assert words in told.headline
    for report in (text.render(told, text.Style(verbose=True)), html.render(told)):
        assert words[:25] in " ".join(report.split())


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("ssl_proj.bias", torch.zeros_like, lambda value: torch.full_like(value, 5e-4)),
        (COUNTS, lambda value: torch.full_like(value, 8.0), lambda value: torch.full_like(value, 8.1)),
    ],
)
def test_zeros_and_whole_numbers_of_one_tensor_prove_no_rounding(vq_state, write, name, before, after):
    """They fit every narrow type. Only what a file stores, or all of its tensors together, tells of a rounding."""
    a = vq_state()
    a |= {name: before(a[name])}
    b = a | {name: after(a[name])}
    for narrow in (torch.float16, torch.float8_e4m3fn):
        rounded = before(a[name]).to(narrow).float()
        assert torch.equal(rounded, before(a[name]))
    result = diff(write("w.pth", a), write("w2.pth", b))
    assert (result.verdict, result.exit_code) == ("changed", 1)
    assert diff(write("w.pth", to(a, torch.float16)), write("w2.pth", to(b, torch.float16))).verdict == "changed"
