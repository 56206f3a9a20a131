"""Each cause is told on the states it makes, and stays silent on every other cause's states."""

import copy

import pytest
import torch

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, SUMS, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "embed_avg", "cluster_size"))
RARE = (3, 9, 20)


@pytest.fixture(scope="session")
def states(base, updates, k_means):
    """Name -> (A, B, the causes that really lie between them)."""
    start, rare = base(), base(rare=RARE)
    drifted = updates(start, 20, unhit=(5,))[0].after
    made = {
        "updates, a code unhit": (start, drifted, {"ema-updates"}),
        "updates, every code hit": (start, updates(start, 20)[0].after, {"ema-updates"}),
        "updates, Zipf": (start, updates(start, 100, hits="zipf")[0].after, {"ema-updates"}),
        "updates, encodec's order": (rare, updates(rare, 5, order="before-ema")[0].after, {"ema-updates"}),
        "updates and expiry after them": (
            rare,
            updates(rare, 5, order="after-ema", unhit=RARE)[0].after,
            {"ema-updates", "dead-codes-replaced"},
        ),
        "updates and expiry, vector-quantize-pytorch": (
            rare,
            updates(rare, 1, library="vqp", unhit=RARE)[0].after,
            {"ema-updates", "dead-codes-replaced"},
        ),
        "updates, vector-quantize-pytorch": (
            start,
            updates(start, 20, library="vqp", unhit=(5,))[0].after,
            {"ema-updates"},
        ),
        "two trainings from one start": (
            updates(start, 20, unhit=(5,))[0].after,
            updates(start, 30, unhit=(5,), hits="zipf", seed=2)[0].after,
            {"ema-updates"},
        ),
        "k-means": (start, k_means("ours"), {"initialised", "another-projection"}),
        "k-means, vector-quantize-pytorch": (start, k_means("vqp"), {"initialised", "another-projection"}),
        "filled": (_emptied(start), start, {"never-trained", "initialised"}),
        "emptied": (start, _emptied(start), {"never-trained", "initialised"}),
        "never trained": (_emptied(start), _emptied(start), {"never-trained"}),
        "permuted": (start, _permuted(start), {"permuted"}),
        "codes edited": (start, _edited(start), {"edited"}),
        "merged": (start, {name: (start[name] + drifted[name]) / 2 for name in start}, {"merged"}),
        "bookkeeping rescaled": (start, start | {SUMS: start[SUMS] * 0.9, COUNTS: start[COUNTS] * 0.9}, {"scaled"}),
        "another codebook": (start, base(seed=8) | _projection(start), {"another-codebook"}),
        "another model": (start, base(seed=8), {"another-codebook", "another-projection"}),
        "projection trained": (start, _trained_projection(start), {"projection-trained"}),
        "nothing frozen": (start, _trained_projection(drifted), {"ema-updates", "projection-trained"}),
    }
    rounded = {name: value.half() for name, value in drifted.items()}
    return made | {"rounded": (drifted, rounded, {"rounding-only"})}


def _emptied(state):
    return {name: torch.zeros_like(value) if CODEBOOK in name else value for name, value in state.items()}


def _permuted(state):
    order = torch.arange(len(state[COUNTS]))
    order[[4, 7, 11]] = order[[7, 11, 4]]
    return state | {name: state[name][order] for name in (EMBED, SUMS, COUNTS)}


def _edited(state):
    moved = state[EMBED].clone()
    moved[[6, 30]] *= 1.1
    return state | {EMBED: moved}


def _projection(state):
    return {name: value for name, value in state.items() if name.startswith("ssl_proj")}


def _trained_projection(state):
    conv = torch.nn.Conv1d(16, 16, 2, 2)
    conv.load_state_dict({name.removeprefix("ssl_proj."): value for name, value in _projection(state).items()})
    optimizer = torch.optim.AdamW(conv.parameters(), 1e-3)
    for seed in range(5):
        frames = torch.randn(2, 16, 40, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        conv(frames).square().mean().backward()
        optimizer.step()
    trained = {f"ssl_proj.{name}": value.detach().clone() for name, value in conv.state_dict().items()}
    return copy.copy(state) | trained


NAMES = (
    "updates, a code unhit",
    "updates, every code hit",
    "updates, Zipf",
    "updates, encodec's order",
    "updates and expiry after them",
    "updates and expiry, vector-quantize-pytorch",
    "updates, vector-quantize-pytorch",
    "two trainings from one start",
    "k-means",
    "k-means, vector-quantize-pytorch",
    "filled",
    "emptied",
    "never trained",
    "permuted",
    "codes edited",
    "merged",
    "bookkeeping rescaled",
    "another codebook",
    "another model",
    "projection trained",
    "nothing frozen",
)


@pytest.mark.parametrize("widths", ["float32", "float16 base", "float16 export"])
@pytest.mark.parametrize("name", NAMES)
def test_a_cause_speaks_on_its_own_states_alone(states, diagnose, narrowed, name, widths):
    """The causes told are exactly those that really lie between two files, in every mixture of widths."""
    a, b, expected = states[name]
    if name == "merged" and widths != "float32":
        # Rounding hides that all values agree on one average, or that somebody edited the codes.
        expected = {"unexplained"}
    if widths == "float16 base":
        b = _from_rounded_start(a, b, narrowed)
    if widths != "float32":
        a = narrowed(a)
    if widths == "float16 export":
        b = narrowed(b)
    found = diagnose(a, b)
    assert {cause.code for cause in found.causes} == expected


def _from_rounded_start(a, b, narrowed):
    """Return B as it is when it was made from the rounded A: what did not change keeps A's rounding."""
    return {key: narrowed(b)[key].float() if torch.equal(a[key], b[key]) else b[key] for key in b}


def test_rounding_is_told_where_nothing_else_happened(states, diagnose):
    """A file and its fp16 export differ by rounding only, whichever comes first."""
    a, b, expected = states["rounded"]
    assert {cause.code for cause in diagnose(a, b).causes} == expected
    assert {cause.code for cause in diagnose(b, a).causes} == expected


def test_equal_trained_files_have_no_diagnosis(states, diagnose):
    """Where nothing changed there is nothing to explain."""
    a = states["permuted"][0]
    assert diagnose(a, a) is None


def test_bookkeeping_alone_is_no_news_where_tokens_are_asked_for(states, diagnose):
    """With the scope `tokens`, changed sums and counts are not judged, and so not diagnosed."""
    a, b, _ = states["bookkeeping rescaled"]
    assert diagnose(a, b, scope="tokens") is None
