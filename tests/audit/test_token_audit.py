"""The token audit: right checkpoints pass in every arithmetic, drifted ones fail, and nothing is left unsaid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vqcheck.audit.token_audit import audit_tokens
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.half_lookup import half
from vqcheck.errors import UsageError
from vqcheck.experiment.name2semantic import HEADER, MERGED
from vqcheck.report.views.tokens_words import against

DIM, CODES = 96, 256
CODEBOOK = "quantizer.vq.layers.0._codebook"


def in_half(values):
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float16).astype(np.float64)


class World:
    """A VQ encoder, recordings, and their tokens by arithmetic written down here a second time, in float64."""

    def __init__(self, folder, seed=0, size=1000.0, offset=0.0, items=40, noise=None):
        self.draw = np.random.default_rng(seed)
        self.folder = folder
        scale = np.sqrt(size / DIM / (1 + offset**2))
        centre = offset * scale * self.draw.standard_normal(DIM)
        self.scale = scale
        self.weight = half(self.draw.standard_normal((DIM, DIM, 2)) / np.sqrt(2 * DIM))
        self.bias = half(centre + 0.1 * scale * self.draw.standard_normal(DIM))
        self.features = {
            f"{number:02}.wav": (scale * self.draw.standard_normal((DIM, int(self.draw.integers(80, 160))))).astype(
                np.float16
            )
            for number in range(items)
        }
        self.codes = half(centre + scale * self.draw.standard_normal((CODES, DIM)))
        if noise is not None:
            frames = np.concatenate([self.project(f) for f in self.features.values()])
            near = frames[self.draw.integers(0, len(frames), CODES)]
            self.codes = half(near + noise * scale * self.draw.standard_normal(near.shape))
        (folder / "4-cnhubert").mkdir()
        for item, features in self.features.items():
            self.write_features(item, features)

    def write_features(self, item, features):
        tensor = torch.from_numpy(np.ascontiguousarray(features.T))[None].requires_grad_().transpose(1, 2)
        torch.save(tensor, self.folder / "4-cnhubert" / f"{item}.pt")

    def patches(self, features):
        steps = features.shape[1] // 2
        return features[:, : 2 * steps].reshape(DIM, steps, 2).transpose(1, 0, 2).reshape(steps, -1).astype(np.float64)

    def project(self, features):
        return self.patches(features) @ self.weight.reshape(DIM, -1).T.astype(np.float64) + self.bias

    def float32_tokens(self, features):
        frames = self.project(features)
        return (np.einsum("ij,ij->i", self.codes, self.codes) - 2 * frames @ self.codes.T.astype(np.float64)).argmin(1)

    def half_tokens(self, features, ties="first", sums=1):
        """Derive tokens in half precision; sums are rounded once, but where several partial ones are kept in half."""
        with np.errstate(over="ignore", invalid="ignore"):
            weight, codes = in_half(self.weight.reshape(DIM, -1).T), in_half(self.codes)
            x = in_half(in_half(in_half(self.patches(features)) @ weight) + in_half(self.bias))
            products = 0.0
            for part in np.array_split(np.arange(DIM), sums):
                products = in_half(products + in_half(2 * x[:, part] @ codes[:, part].T))
            norms = in_half(in_half(x**2).sum(1, keepdims=True))
            distances = in_half(in_half(norms - products) + in_half(in_half(codes**2).sum(1)))
        if ties == "any":
            best = distances == np.nanmin(distances, axis=1, keepdims=True)
            return np.where(best, self.draw.random(best.shape), -1).argmax(1)
        if ties == "last":
            return CODES - 1 - np.argmax(-distances[:, ::-1], axis=1)
        return np.argmax(-distances, axis=1)

    def write_tsv(self, derive, change=None):
        tokens = {item: derive(features).tolist() for item, features in self.features.items()}
        if change:
            change(tokens)
        lines = [HEADER, *(f"{item}\t{' '.join(map(str, row))}" for item, row in tokens.items())]
        (self.folder / MERGED).write_text("\n".join(lines) + "\n")
        return tokens

    def drifted(self, share):
        """Return codes moved at random until this share of the float32 tokens is another one."""
        frames = np.concatenate([self.project(f) for f in self.features.values()])

        def tokens(codes):
            return (np.einsum("ij,ij->i", codes, codes) - 2 * frames @ codes.T.astype(np.float64)).argmin(1)

        before, direction = tokens(self.codes), self.draw.standard_normal(self.codes.shape)
        low, high = 0.0, 3 * self.scale
        for _ in range(20):
            middle = (low + high) / 2
            flips = (tokens(half(self.codes + middle * direction)) != before).mean()
            low, high = (middle, high) if flips < share else (low, middle)
        return half(self.codes + high * direction)

    def audit(self, codes=None, **options):
        count = torch.full((CODES,), 30.0)
        embed = torch.from_numpy((self.codes if codes is None else codes).astype(np.float32))
        state = {
            f"{CODEBOOK}.inited": torch.ones(1),
            f"{CODEBOOK}.cluster_size": count,
            f"{CODEBOOK}.embed": embed,
            f"{CODEBOOK}.embed_avg": embed * count[:, None],
            "ssl_proj.weight": torch.from_numpy(self.weight),
            "ssl_proj.bias": torch.from_numpy(self.bias),
        }
        torch.save({"weight": state}, self.folder / "s2G.pth")
        with open_checkpoint(self.folder / "s2G.pth") as checkpoint:
            return audit_tokens(checkpoint, str(self.folder), **options)


@pytest.fixture
def world(tmp_path):
    """Makes a VQ encoder and recordings of a given magnitude |x|^2 in a folder of their own."""

    def make(**how):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return World(folder, **how)

    return make


SIZES = [100.0, 1000.0, 7000.0, 30000.0]


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 3.0], ids=["centred", "far from 0"])
@pytest.mark.parametrize("size", SIZES)
def test_the_right_checkpoint_passes_in_every_arithmetic(world, size, offset):
    """Tokens made in float32, or in half precision with any sums and any choice among ties, are consistent."""
    if size * 4 > 65504:
        offset = 0.0
    made = world(seed=int(size), size=size, offset=offset, items=25)
    ways = [made.float32_tokens]
    ways += [lambda f, t=t: made.half_tokens(f, ties=t) for t in ("first", "last", "any")]
    ways += [lambda f, n=n: made.half_tokens(f, sums=n) for n in (2, 3, 4)]
    for derive in ways:
        made.write_tsv(derive)
        audit = made.audit()
        assert audit.verdict == "consistent", (audit.total, audit.groups)
        assert audit.total.mismatches == 0


def test_torch_half_on_a_cpu_passes(world):
    """Torch's own half arithmetic, written as upstream writes it, is consistent with the checkpoint."""
    made = world(seed=5, offset=1.0)

    def derive(features):
        w, b, e = (torch.from_numpy(array).half() for array in (made.weight, made.bias, made.codes.T))
        x = torch.nn.functional.conv1d(torch.from_numpy(features)[None], w, b, stride=2)[0].T
        distances = -(x.pow(2).sum(1, keepdim=True) - 2 * x @ e + e.pow(2).sum(0, keepdim=True))
        return distances.max(dim=-1).indices.numpy()

    made.write_tsv(derive)
    assert made.audit().verdict == "consistent"


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("size", [100.0, 1000.0, 7000.0])
def test_a_drifted_codebook_fails(world, size, share):
    """Codes moved until 1, 2, 5 or 10 % of the tokens flip no longer explain the tokens that they were made with."""
    made = world(seed=int(100 * share), size=size, items=100)
    drifted = made.drifted(share)
    for derive in (made.float32_tokens, made.half_tokens):
        made.write_tsv(derive)
        assert made.audit().verdict == "consistent"
        audit = made.audit(drifted)
        assert (audit.verdict, audit.exit_code) == ("inconsistent", 1)
        assert audit.total.near_ties + audit.total.mismatches > audit.limit


def test_drift_alone_can_fail_without_a_single_mismatch(world):
    """The bound swallows a small drift; the limit on near-ties does not."""
    made = world(seed=8, offset=3.0, items=60)
    made.write_tsv(made.half_tokens)
    audit = made.audit(made.drifted(0.02))
    assert (audit.contradictions, audit.total.mismatches) == (("near-ties",), 0)


def test_items_of_both_precisions_pass_in_one_tsv(world):
    """A directory can be mixed; each item is judged in the precision that explains it."""
    made = world(seed=9, offset=3.0)
    precisions = iter(["float32", "half"] * len(made.features))
    made.write_tsv(lambda f: made.float32_tokens(f) if next(precisions) == "float32" else made.half_tokens(f))
    audit = made.audit()
    assert (audit.verdict, audit.total.precision) == ("consistent", "mixed")
    assert {group.precision for group in audit.groups} == {"float32", "float16"}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_features_and_weights_of_full_float32_pass(world, precision):
    """Values that are no half values are rounded for the half derivation and kept for the float32 one."""
    made = world(seed=10)
    made.weight = (made.weight * 1.0001).astype(np.float32)
    made.codes = (made.codes * 1.0001).astype(np.float32)
    for item, features in made.features.items():
        made.features[item] = (features * np.float32(1.0001)).astype(np.float32)
        made.write_features(item, made.features[item])
    made.write_tsv(made.float32_tokens if precision == "float32" else made.half_tokens)
    assert made.audit().verdict == "consistent"


def test_another_checkpoint_is_a_mismatch_nearly_everywhere(world):
    """Tokens of an unrelated codebook."""
    made = world(seed=11)
    made.write_tsv(made.float32_tokens)
    audit = made.audit(made.codes[::-1])
    assert audit.verdict == "inconsistent"
    assert audit.total.mismatches > 0.8 * audit.total.frames


def test_one_wrong_token_is_enough(world):
    """A single token that is far from its frame, or that the codebook does not have, fails the whole."""
    made = world(seed=12, noise=0.5)
    for wrong in (lambda token: (token + 1) % CODES, lambda _: CODES):

        def change(tokens, wrong=wrong):
            tokens["07.wav"][3] = wrong(tokens["07.wav"][3])

        made.write_tsv(made.float32_tokens, change)
        audit = made.audit()
        assert (audit.contradictions, audit.total.mismatches) == (("mismatches",), 1)
        assert [item.item for item in audit.items if item.counts.mismatches] == ["07.wav"]


def twins(made, apart=1e-3):
    """Make the codes' second half near-duplicates of their first, as dead-code replacement does."""
    first = made.codes[: CODES // 2]
    step = made.draw.standard_normal(first.shape)
    made.codes = np.concatenate([first, (first + apart * made.scale * step).astype(np.float32)])


def rival_twins(made):
    """Make twins that float32 hardly tells apart on one frame each, and half precision does, by the squares' rounding.

    Each differs from its original by few units in the last place of half precision, of many choices the one that the
    frame is most nearly in the middle of.
    """
    first = made.codes[: CODES // 2]
    frames = np.concatenate([made.project(f) for f in made.features.values()])
    owner, second = nearest(frames, first), []
    for number, code in enumerate(first):
        steps = np.spacing(code.astype(np.float16)).astype(np.float64) * made.draw.integers(-1, 2, (3000, DIM))
        squares = in_half(in_half((code + steps) ** 2).sum(1))
        steps = steps[squares != in_half(in_half(code**2).sum())]
        mine = frames[owner == number]
        offsets = (steps**2).sum(1) - 2 * steps @ (mine[0] - code) if len(mine) else np.zeros(len(steps))
        second.append(code + steps[np.abs(offsets).argmin()])
    made.codes = np.concatenate([first, half(np.array(second))])


def nearest(frames, codes):
    codes = codes.astype(np.float64)
    return (np.einsum("ij,ij->i", codes, codes) - 2 * frames @ codes.T).argmin(1)


def shuffled_sums(made, features, order, fused=False):
    """Derive tokens in float32 as upstream writes it, one product after the other in a given order."""
    x = (made.project(features)).astype(np.float32)
    norms, squares = (x**2).sum(1, keepdims=True), (made.codes**2).sum(1)
    products = np.zeros((len(x), CODES), np.float32)
    for at in order:
        left, right = 2 * x[:, at, None], made.codes[None, :, at]
        products = (products + left.astype(np.float64) * right).astype(np.float32) if fused else products + left * right
    return np.argmax(-((norms - products) + squares), axis=1)


class TestNearDuplicates:
    """Codes so alike that the order of float32 summation decides which of them is the nearest."""

    @pytest.fixture
    def made(self, world):
        made = world(seed=31, items=25, noise=0.5)
        rival_twins(made)
        return made

    def orders(self, made):
        """Ways to sum up that differ in which twin they choose on many frames."""
        plain, turned, mixed = np.arange(DIM), np.arange(DIM)[::-1], made.draw.permutation(DIM)
        return [
            made.float32_tokens,
            *(
                lambda f, o=order, n=fused: shuffled_sums(made, f, o, n)
                for order in (plain, turned)
                for fused in (0, 1)
            ),
            lambda f: shuffled_sums(made, f, mixed),
        ]

    def test_any_order_of_summation_passes(self, made):
        """Float32 tokens of another processor are consistent, though more than a few differ from the exact ones."""
        for derive in self.orders(made):
            made.write_tsv(derive)
            audit = made.audit()
            assert (audit.verdict, audit.total.mismatches) == ("consistent", 0), (audit.total, audit.groups)
            assert audit.total.precision == "float32"
        exact = np.concatenate([made.float32_tokens(f) for f in made.features.values()])
        off = [(np.concatenate([d(f) for f in made.features.values()]) != exact).sum() for d in self.orders(made)[1:]]
        assert max(off) > 6

    def test_drift_is_not_swallowed(self, made):
        """The same limit does not excuse tokens of codes that moved by more than float32 rounds."""
        pairs = CODES // 2
        for share in (0.02, 0.05, 0.2):
            moved, step = made.codes, 2e-3 * made.scale * made.draw.standard_normal(made.codes.shape)
            frames = np.concatenate([made.project(f) for f in made.features.values()])
            before = nearest(frames, made.codes) % pairs
            while (nearest(frames, moved) % pairs != before).mean() < share:
                moved = (moved + step).astype(np.float32)
            for derive in self.orders(made)[:3]:
                made.write_tsv(derive)
                audit = made.audit(moved)
                assert audit.verdict == "inconsistent", (share, audit.total, audit.groups)

    def test_codes_that_are_equal_go_to_the_first(self, world):
        """Exact duplicates are no coarse frame, and the first is the token; the last one is no mismatch."""
        made = world(seed=33, items=12, noise=0.5)
        made.codes = np.concatenate([made.codes[:40], np.repeat(made.codes[:1], CODES - 40, axis=0)])
        made.write_tsv(made.float32_tokens)
        audit = made.audit()
        assert (audit.verdict, audit.total.explained) == ("consistent", audit.total.frames)

        def last(features):
            tokens = made.float32_tokens(features)
            return np.where(tokens == 0, CODES - 1, tokens)

        made.write_tsv(last)
        assert made.audit().total.mismatches == 0


def tf32(values, cut):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits if cut else bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("cut", [False, True], ids=["rounded", "cut off"])
@pytest.mark.parametrize("lookup", [False, True], ids=["convolution", "convolution and lookup"])
@pytest.mark.parametrize("near", [False, True], ids=["noise", "near-duplicates"])
def test_tf32_passes_and_drift_in_it_does_not(world, cut, lookup, near):
    """Tokens whose products lost 13 bits are consistent with the checkpoint, and not with one that moved."""
    made = world(seed=40 + cut, items=30)
    made.weight, made.bias = (made.weight * 1.0003).astype(np.float32), (made.bias * 1.0003).astype(np.float32)
    made.codes = (made.codes * 1.0003).astype(np.float32)
    if near:
        twins(made)
    for item, features in made.features.items():
        made.features[item] = (features * np.float32(1.0003)).astype(np.float32)
        made.write_features(item, made.features[item])

    def derive(features):
        weight = tf32(made.weight.reshape(DIM, -1), cut).T.astype(np.float64)
        x = (tf32(made.patches(features).astype(np.float32), cut) @ weight + made.bias).astype(np.float32)
        left, right = (tf32(a, cut) if lookup else a for a in (x, made.codes))
        return ((made.codes.astype(np.float64) ** 2).sum(1) - 2 * left.astype(np.float64) @ right.T).argmin(1)

    made.write_tsv(derive)
    audit = made.audit()
    assert (audit.verdict, audit.total.mismatches) == ("consistent", 0), (audit.total, audit.groups)
    drifted = made.audit(made.drifted(0.05).astype(np.float32))
    assert drifted.verdict == "inconsistent", (drifted.total, drifted.groups)


class TestFarCode:
    """One code far from all others, which no frame uses."""

    @pytest.mark.parametrize("far", [1e3, 1e4, 6e4, 1e6, 1e10, 1e40])
    def test_it_excuses_nothing(self, world, far):
        """Whatever its length, up to squares and elements that overflow: wrong tokens fail, right ones pass."""
        made = world(seed=50, size=30.0, noise=0.3, items=10)
        frames = np.concatenate([made.project(f) for f in made.features.values()])
        direction = -frames.mean(0) / np.linalg.norm(frames.mean(0))
        made.codes[-1] = (direction * far**0.5).astype(np.float32)
        for derive in (made.float32_tokens, made.half_tokens):
            right = made.write_tsv(derive)
            audit = made.audit()
            if far < 1e9:
                assert (audit.verdict, audit.total.undecided) == ("consistent", 0), (audit.total, audit.groups)
            wrong = made.codes.copy()
            used = np.unique(np.concatenate([*right.values()]))
            wrong[used[:2]] = wrong[used[1::-1]]
            audit = made.audit(wrong)
            if far < 1e9 or derive == made.float32_tokens:
                assert audit.verdict == "inconsistent", (audit.total, audit.groups)

    def test_frames_whose_product_overflows_are_undecided(self, world):
        """A product beyond 65504 makes a code the half-precision token whatever the codebook is: those frames alone."""
        made = world(seed=51, size=1000.0, noise=0.3, items=20)
        frames = np.concatenate([made.project(f) for f in made.features.values()])
        lone = frames[7] / np.linalg.norm(frames[7])
        made.codes[-1] = half(lone * 1500)
        made.write_tsv(made.half_tokens)
        overflows = (2 * in_half(frames) @ made.codes[-1].astype(np.float64) > 65504).mean()
        audit = made.audit()
        assert 0 < audit.total.undecided <= 2 * overflows * audit.total.frames
        assert audit.verdict == ("inconclusive" if audit.total.undecided > 0.01 * audit.total.frames else "consistent")
        made.write_tsv(made.float32_tokens)
        assert made.audit().verdict == "consistent"

    def test_a_code_that_half_precision_cannot_choose_is_no_excuse(self, world):
        """The nearest code's square overflows: half precision takes the next one, and only that is explained."""
        made = world(seed=52, size=100.0, noise=0.3, items=20)
        made.codes[-1] = half(np.full(DIM, 27.0))
        assert 27.0**2 * DIM > 65520
        item = next(iter(made.features))
        made.write_tsv(made.half_tokens, lambda t: t[item].__setitem__(3, CODES - 1))
        audit = made.audit()
        assert (audit.contradictions, audit.total.mismatches) == (("mismatches",), 1)


def test_codes_that_half_precision_cannot_tell_apart_are_said_to_be_that(world):
    """A collapsed codebook: nothing overflows, and the reason given is not that it does."""
    made = world(seed=60, offset=6.0, size=1000.0, items=10)
    centre = made.codes.mean(0)
    made.codes = (centre + 1e-4 * (made.codes - centre)).astype(np.float32)
    made.write_tsv(lambda f: made.draw.integers(0, CODES, f.shape[1] // 2))
    audit = made.audit()
    assert audit.verdict != "consistent"
    assert "overflow" not in audit.gaps
    made.write_tsv(made.float32_tokens)
    assert made.audit().verdict == "consistent"


class TestAgainst:
    """Which of two checkpoints explains the tokens better."""

    @pytest.fixture
    def counted(self, world):
        """Return an audit whose first item lacks one explained frame for one of another kind."""
        made = world(seed=71, items=6)
        made.write_tsv(made.float32_tokens)
        audit = made.audit()
        item, *others = audit.items
        counts = replace(item.counts, explained=item.counts.explained - 1)
        return audit, lambda kind: replace(audit, items=(replace(item, counts=replace(counts, **{kind: 1})), *others))

    @pytest.mark.parametrize("kind", ["undecided", "near_ties", "mismatches"])
    def test_what_is_not_explained_is_not_counted_so(self, counted, kind):
        """A frame that is undecided speaks for a checkpoint no more than a near-tie: the other one is the better."""
        whole, lacking = counted
        assert (whole.better_than(lacking(kind)), lacking(kind).better_than(whole)) == ("checkpoint", "against")
        assert "explains the tokens better (100 %) than" in against(whole, lacking(kind))
        assert lacking(kind).better_than(lacking(kind)) == "equal"

    def test_undecided_frames_are_said_beside_the_share(self, counted):
        """The reader sees that one of the two could not be judged on some frames."""
        whole, lacking = counted
        assert ", 1 undecided)" in against(whole, lacking("undecided"))

    def test_of_equals_the_one_that_is_not_disproved_is_better(self, counted):
        """As many explained, but fewer mismatches."""
        _, lacking = counted
        tied, wrong = lacking("near_ties"), lacking("mismatches")
        assert (tied.better_than(wrong), wrong.better_than(tied)) == ("checkpoint", "against")


class TestOverflow:
    """Half-precision norms beyond 65504."""

    def test_half_tokens_are_inconclusive(self, world):
        """What a GPU makes of infinite distances says nothing: status 2."""
        made = world(seed=13, size=60000.0)
        made.write_tsv(made.half_tokens)
        audit = made.audit()
        assert (audit.verdict, audit.gaps, audit.exit_code) == ("inconclusive", ("overflow",), 2)

    def test_float32_tokens_are_still_checked(self, world):
        """The right checkpoint explains them all, a drifted one does not."""
        made = world(seed=13, size=60000.0)
        made.write_tsv(made.float32_tokens)
        assert made.audit().verdict == "consistent"
        assert made.audit(made.drifted(0.05)).verdict == "inconsistent"

    def test_float32_tokens_are_excused_by_no_overflow(self, world):
        """Items that are float32's beyond doubt: a single token far from its frame is a mismatch."""
        made = world(seed=13, size=60000.0, noise=0.3)
        made.write_tsv(made.float32_tokens, lambda t: t["07.wav"].__setitem__(3, (t["07.wav"][3] + 1) % CODES))
        audit = made.audit()
        assert (audit.contradictions, audit.total.mismatches) == (("mismatches",), 1)
        assert audit.total.precision == "float32"

    def test_a_few_frames_are_tolerated(self, world):
        """One frame in two thousand that overflows leaves the verdict to the others, and is told."""
        made = world(seed=14)
        made.features["00.wav"][:, :2] *= 20
        made.write_features("00.wav", made.features["00.wav"])
        made.write_tsv(made.half_tokens)
        audit = made.audit()
        assert (audit.verdict, audit.total.undecided) == ("consistent", 1)


class TestItems:
    """What belongs to what."""

    @pytest.fixture
    def made(self, world):
        return world(seed=20, items=6)

    def test_a_length_off_by_one_is_told_and_passes(self, made):
        """One token more than the features give, or one fewer."""
        made.write_tsv(made.float32_tokens, lambda t: (t["01.wav"].append(5), t["02.wav"].pop()))
        audit = made.audit()
        assert audit.verdict == "consistent"
        assert [item.item for item in audit.items if item.off_by_one] == ["01.wav", "02.wav"]

    def test_a_length_that_is_further_off_fails(self, made):
        """Features of another recording."""
        made.write_tsv(made.float32_tokens, lambda t: t["03.wav"].extend([5, 5]))
        audit = made.audit()
        assert (audit.contradictions, [item.item for item in audit.wrong_lengths]) == (("lengths",), ["03.wav"])

    def test_missing_and_surplus_items_are_named(self, made):
        """Features without tokens, tokens without features, and an item with two rows."""
        made.write_tsv(made.float32_tokens, lambda t: (t.pop("04.wav"), t.update(absent=[1, 2])))
        path = made.folder / MERGED
        path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
        audit = made.audit()
        assert (audit.without_tokens, audit.without_features, audit.repeated) == (("04.wav",), ("absent",), ("00.wav",))
        assert (audit.verdict, len(audit.items)) == ("consistent", 6)

    @pytest.mark.parametrize(
        ("damage", "word"),
        [
            (lambda path: path.write_bytes(path.read_bytes()[:-50]), ""),
            (lambda path: torch.save(torch.full((1, DIM, 9), torch.nan), path), "NaN"),
            (lambda path: torch.save(torch.ones(1, DIM + 1, 9), path), "channels"),
            (lambda path: torch.save(torch.ones(9), path), "not [1, channels, time]"),
        ],
    )
    def test_features_that_cannot_be_used_are_never_green(self, made, damage, word):
        """The others are checked, the item is named with the reason, and the verdict is inconclusive."""
        made.write_tsv(made.float32_tokens)
        damage(made.folder / "4-cnhubert" / "02.wav.pt")
        audit = made.audit()
        assert (audit.verdict, audit.exit_code, len(audit.items)) == ("inconclusive", 2, 5)
        ((item, why),) = audit.unreadable
        assert item == "02.wav"
        assert word in why

    def test_a_malformed_line_is_never_green(self, made):
        """Its tokens cannot be checked."""
        made.write_tsv(made.float32_tokens)
        with (made.folder / MERGED).open("a") as file:
            file.write("05.wav\tx\n")
        assert (made.audit().verdict, made.audit().gaps) == ("inconclusive", ("malformed",))

    def test_a_contradiction_outweighs_what_could_not_be_read(self, made):
        """A proven mismatch is status 1 although an item is unreadable."""
        made.write_tsv(made.float32_tokens)
        (made.folder / "4-cnhubert" / "02.wav.pt").write_bytes(b"")
        assert made.audit(made.codes[::-1]).exit_code == 1

    def test_nothing_in_common_is_an_error(self, made):
        """A tsv of another experiment names an item of each side."""
        (made.folder / MERGED).write_text(f"{HEADER}\nother.wav\t1 2\n")
        with pytest.raises(UsageError, match=r"other\.wav.*00\.wav.*different experiments"):
            made.audit()

    def test_no_usable_item_is_an_error(self, made):
        """When no features of any item give a token, nothing was checked."""
        made.write_tsv(made.float32_tokens)
        for path in (made.folder / "4-cnhubert").iterdir():
            torch.save(torch.ones(1, DIM, 1), path)
        with pytest.raises(UsageError, match="none of 6 items"):
            made.audit()

    def test_a_sample_is_the_same_each_time(self, made):
        """So many items, in the order of the tsv; a sample of more items than there are is all of them."""
        made.write_tsv(made.float32_tokens)
        first, second, all_of_them = (made.audit(sample=size) for size in (2, 2, 100))
        assert [item.item for item in first.items] == [item.item for item in second.items]
        assert (len(first.items), first.sampled) == (2, True)
        assert (len(all_of_them.items), all_of_them.sampled) == (6, False)

    def test_progress_is_told_by_rows(self, made):
        """Every row once, with their number."""
        made.write_tsv(made.float32_tokens)
        told = []
        made.audit(on_item=lambda done, total: told.append((done, total)))
        assert told == [(done, 6) for done in range(1, 7)]

    def test_recordings_longer_than_a_batch_are_cut_and_put_together(self, made):
        """Frames are counted to their item wherever a batch ends."""
        long = (made.scale * made.draw.standard_normal((DIM, 4501))).astype(np.float16)
        made.features |= {"00.wav": long, "01.wav": long[:, :2300]}
        for item in ("00.wav", "01.wav"):
            made.write_features(item, made.features[item])
        made.write_tsv(made.float32_tokens)
        audit = made.audit()
        assert audit.verdict == "consistent"
        assert [item.counts.frames for item in audit.items] == [f.shape[1] // 2 for f in made.features.values()]
