"""vector-quantize-pytorch itself: what its own training moves is found, what holds it still is equal."""

import copy

import pytest
import torch
from vector_quantize_pytorch import (
    FSQ,
    LFQ,
    GroupedResidualFSQ,
    GroupedResidualLFQ,
    GroupedResidualVQ,
    LatentQuantize,
    RandomProjectionQuantizer,
    ResidualLFQ,
    ResidualSimVQ,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)

import vqcheck.errors

DIM = 8
BOOK = {"codebook_size": 16}


def frames(seed=1, dim=DIM):
    return torch.randn(4, 24, dim, generator=torch.Generator().manual_seed(seed))


def make(kind, **options):
    torch.manual_seed(0)
    return kind(**options)


def state_of(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def forward(module):
    module.train()
    module(frames(5))


def gradient_step(module):
    """One step of SGD on the module's own losses and on its output."""
    module.train()
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.5)
    quantized, _, *loss = module(frames())
    # A constant pull on the output alone would cancel in the straight-through estimator.
    (sum(each.sum() for each in loss[:1]) + (quantized * frames(2)).sum()).backward()
    optimizer.step()


EMA = {
    "VectorQuantize": (VectorQuantize, {"dim": DIM, **BOOK}),
    "with projections": (VectorQuantize, {"dim": DIM, "codebook_dim": 4, **BOOK}),
    "with heads": (
        VectorQuantize,
        {"dim": DIM, "heads": 2, "codebook_dim": 4, "separate_codebook_per_head": True, **BOOK},
    ),
    "cosine": (VectorQuantize, {"dim": DIM, "use_cosine_sim": True, **BOOK}),
    "k-means": (VectorQuantize, {"dim": DIM, "kmeans_init": True, **BOOK}),
    "dead codes": (VectorQuantize, {"dim": DIM, "threshold_ema_dead_code": 2, **BOOK}),
    "ResidualVQ": (ResidualVQ, {"dim": DIM, "num_quantizers": 3, **BOOK}),
    "shared ResidualVQ": (ResidualVQ, {"dim": DIM, "num_quantizers": 3, "shared_codebook": True, **BOOK}),
    "GroupedResidualVQ": (GroupedResidualVQ, {"dim": DIM, "num_quantizers": 2, "groups": 2, **BOOK}),
}


@pytest.mark.parametrize("case", EMA)
def test_an_update_in_train_mode_is_found(case, compared):
    """One forward in train mode moves codes, sums and counts; one in eval mode moves nothing."""
    kind, options = EMA[case]
    module = make(kind, **options)
    if case == "k-means":
        module.eval()(frames())
    before = state_of(module)
    module.eval()(frames())
    assert compared(before, state_of(module)).verdict == "identical"
    forward(module)
    comparison = compared(before, state_of(module))
    assert comparison.a.family == "vector-quantize-pytorch"
    assert comparison.verdict == "changed"
    changed = {diff.role for diff in comparison.tensors if diff.verdict == "changed"}
    assert {"codes", "ema_sum", "ema_count"} <= changed


def test_k_means_fills_a_waiting_codebook_even_in_eval_mode(inspected, compared):
    """A codebook never trained is said to be so, and its first forward is found, flag and all."""
    module = make(VectorQuantize, dim=DIM, kmeans_init=True, **BOOK)
    before = state_of(module)
    assert inspected(before).verdict == "never trained"
    module.eval()(frames())
    assert inspected(state_of(module)).verdict == "healthy"
    comparison = compared(before, state_of(module))
    assert {"codes", "init_flag"} <= {diff.role for diff in comparison.tensors if diff.verdict == "changed"}


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"freeze_codebook": True}, "identical"),
        ({"ema_update": False, "threshold_ema_dead_code": 0}, "identical"),
        ({"ema_update": False, "threshold_ema_dead_code": 1}, "changed"),
    ],
)
def test_what_is_said_to_be_frozen(options, verdict, compared):
    """Frozen codebooks hold still; without EMA but with dead codes they do not, and that is found."""
    module = make(VectorQuantize, dim=DIM, **BOOK, **options)
    before = state_of(module)
    forward(module)
    assert compared(before, state_of(module)).verdict == verdict


def test_affine_statistics_that_move_in_eval_mode_are_found(compared):
    """Statistics that rescale the codes at lookup decide tokens, and the codec updates them in eval mode, too."""
    module = make(VectorQuantize, dim=DIM, affine_param=True, **BOOK)
    forward(module)
    before = state_of(module)
    module.eval()(frames(3))
    comparison = compared(before, state_of(module), scope="tokens")
    moved = {diff.role for diff in comparison.tensors if diff.verdict == "changed"}
    assert moved == {"code_transform"}
    assert comparison.verdict == "changed"


def test_bookkeeping_of_a_real_update_fits_its_codes(inspected):
    """After its own update codes are sum over smoothed count; unit vectors of a cosine lookup need not be."""
    for cosine, off in ((False, 0), (True, None)):
        module = make(VectorQuantize, dim=DIM, use_cosine_sim=cosine, **BOOK)
        forward(module)
        assert inspected(state_of(module)).vq_encoder.codebooks[0].rows_off == off


LEARNED = {
    "learnable codebook": (
        VectorQuantize,
        {"dim": DIM, "learnable_codebook": True, "ema_update": False, **BOOK},
        "vector-quantize-pytorch",
    ),
    "SimVQ": (SimVQ, {"dim": DIM, **BOOK}, "simvq"),
    "ResidualSimVQ": (ResidualSimVQ, {"dim": DIM, "num_quantizers": 2, **BOOK}, "simvq"),
}


@pytest.mark.parametrize("case", LEARNED)
def test_a_gradient_step_is_found(case, compared):
    """Codes that gradients train, or a transform of them, are found to have moved."""
    kind, options, family = LEARNED[case]
    module = make(kind, **options)
    before = state_of(module)
    gradient_step(module)
    comparison = compared(before, state_of(module))
    assert comparison.a.family == family
    assert "codes" in {diff.role for diff in comparison.tensors if diff.judged and diff.verdict == "changed"}
    if case != "learnable codebook":
        frozen = {diff.verdict for diff in comparison.tensors if diff.label.endswith("codes")}
        assert frozen == {"identical"}


@pytest.mark.parametrize(
    ("kind", "options", "family"),
    [
        (FSQ, {"levels": [8, 5, 5], "dim": DIM}, "fsq-alone"),
        (LFQ, {"codebook_size": 16, "dim": DIM}, "lfq"),
        (LatentQuantize, {"levels": [5, 5, 8], "dim": DIM}, "latent-quantize"),
    ],
)
def test_of_an_implicit_codebook_the_projection_is_judged(kind, options, family, compared, inspected):
    """Nothing but the projection in front decides the token there; when it moves, that is found."""
    module = make(kind, **options)
    before = state_of(module)
    assert inspected(before).vq_encoder.family == family
    assert compared(before, state_of(module)).verdict == "identical"
    with torch.no_grad():
        module.project_out.weight += 1
    assert compared(before, state_of(module)).verdict == "identical"
    with torch.no_grad():
        module.project_in.bias += 1
    comparison = compared(before, state_of(module))
    assert {diff.label for diff in comparison.tensors if diff.judged and diff.verdict == "changed"} == {
        "input_proj.bias"
    }


def test_a_grid_without_projection_stores_nothing_to_check(saved, vqcheck):
    """FSQ of its own dimension has an empty state dict, which is status 2."""
    module = make(FSQ, levels=[8, 5, 5])
    assert state_of(module) == {}
    path = saved(state_of(module))
    assert vqcheck("diff", path, path).returncode == 2


def test_a_random_projection_quantizer_is_held_still_by_itself(compared):
    """Its codebook is kept in eval mode, so that training changes nothing; its random projection is judged."""
    module = make(RandomProjectionQuantizer, dim=DIM, codebook_size=16, codebook_dim=4, num_codebooks=2)
    before = state_of(module)
    module.train()(frames())
    comparison = compared(before, state_of(module))
    assert (comparison.a.family, comparison.verdict) == ("random-projection", "identical")
    module.rand_projs += 1
    assert compared(before, state_of(module)).verdict == "changed"


EVERY = {
    "norm behind the projection": (
        VectorQuantize,
        {"dim": DIM, "codebook_dim": 4, "layernorm_after_project_in": True, **BOOK},
    ),
    "a network behind the codes": (VectorQuantize, {"dim": DIM, "vq_bridge": torch.nn.Linear(DIM, DIM), **BOOK}),
    "residual, projected": (ResidualVQ, {"dim": DIM, "codebook_dim": 4, "num_quantizers": 2, **BOOK}),
    "implicit neural": (ResidualVQ, {"dim": DIM, "num_quantizers": 2, "implicit_neural_codebook": True, **BOOK}),
    "SimVQ through a network": (
        SimVQ,
        {
            "dim": DIM,
            "frozen_codebook_dim": 4,
            "codebook_transform": torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, DIM)),
            **BOOK,
        },
    ),
    "rotated FSQ": (FSQ, {"levels": [5, 5, 5], "dim": DIM, "orthogonal_rotation": True}),
    "rotated LFQ": (LFQ, {"codebook_size": 16, "dim": DIM, "orthogonal_rotation": True}),
    "ResidualLFQ": (ResidualLFQ, {"dim": DIM, "codebook_size": 16, "num_quantizers": 2}),
    "grouped FSQ": (GroupedResidualFSQ, {"dim": DIM, "levels": [5, 5, 3], "num_quantizers": 2, "groups": 2}),
    "grouped LFQ": (GroupedResidualLFQ, {"dim": DIM, "codebook_size": 8, "num_quantizers": 2, "groups": 2}),
}


@pytest.mark.parametrize("prefix", ["", "quantizer."])
@pytest.mark.parametrize("case", EVERY)
def test_whatever_moves_tokens_is_found(case, prefix, compared):
    """Each tensor in turn is moved, and the quantizer itself says whether its tokens move with it."""
    kind, options = EVERY[case]
    module = make(kind, **copy.deepcopy(options))
    forward(module)
    module.eval()
    before = state_of(module)

    def tokens():
        with torch.no_grad():
            return module(frames(7))[1]

    first, decisive = tokens(), set()
    for name, value in before.items():
        if not value.is_floating_point():
            continue
        moved = value + torch.randn(value.shape, generator=torch.Generator().manual_seed(3))
        module.load_state_dict({**before, name: moved})
        if torch.equal(tokens(), first):
            continue
        decisive.add(name)
        a, b = ({prefix + key: each for key, each in s.items()} for s in (before, module.state_dict()))
        assert compared(a, b).verdict == "changed", name
        assert compared(a, b, scope="tokens").verdict == "changed", name
    assert decisive
    module.load_state_dict(before)
    assert torch.equal(tokens(), first)


@pytest.mark.parametrize("case", EVERY)
def test_frozen_tokens_stay(case):
    """Training that would move the tokens moves none of a frozen quantizer, and a guard sees it without."""
    kind, options = EVERY[case]
    model = torch.nn.Module()
    model.quantizer = make(kind, **copy.deepcopy(options))
    forward(model.quantizer)

    def tokens():
        with torch.no_grad():
            return model.quantizer.eval()(frames(7))[1]

    def train():
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), 0.5)
        quantized, _, *losses = model.quantizer(frames().requires_grad_())
        loss = sum(each.sum() for each in losses) + (quantized * frames(2)).sum()
        if loss.requires_grad:
            loss.backward()
        optimizer.step()

    first = tokens()
    handle = vqcheck.freeze(model)
    with vqcheck.guard(model, every=1) as watched:
        train()
        watched.step()
    assert torch.equal(tokens(), first)
    handle.remove()
    guard = vqcheck.guard(model, every=1)
    train()
    assert not torch.equal(tokens(), first)
    with pytest.raises(vqcheck.errors.CodebookChanged):
        guard.check()
