"""What a passed token audit says it could not have seen is true of real drifts, and no larger than it must be."""

import numpy as np
import pytest
import torch

from vqcheck.audit.binomial import at_most, smallest_share
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_power import CONFIDENCE, percent, power, updates
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.experiment.name2semantic import HEADER, MERGED

CODEBOOK = "quantizer.vq.layers.0._codebook"
DIM, CODES, ITEMS, FRAMES = 24, 64, 4, 60
PER_DRAW = ITEMS * FRAMES
DECAY = 0.99


@pytest.mark.parametrize(("frames", "off"), [(1, 0), (40, 0), (240, 1), (240, 17), (5000, 3), (5000, 400)])
def test_the_share_is_that_of_the_binomial_count(frames, off):
    """By torch's own distribution: at the share stated so few are hit in one of twenty draws, below it more often."""
    share = smallest_share(frames, off, 1 - CONFIDENCE)

    def chance(rate):
        count = torch.distributions.Binomial(frames, torch.tensor(rate, dtype=torch.float64))
        return float(count.log_prob(torch.arange(off + 1, dtype=torch.float64)).exp().sum())

    assert chance(share) == pytest.approx(0.05, rel=1e-6)
    assert chance(0.9 * share) > 0.05
    assert at_most(frames, share, off) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.099999, 0.0123, 0.00010001, 3e-7])
def test_a_share_in_words_is_never_too_small(share):
    """Two digits, rounded up."""
    number = float(percent(share).removesuffix(" %")) / 100
    assert share <= number * (1 + 1e-12)
    assert number <= 1.1 * share


class Codebook:
    """An EMA codebook, as training has it, in float64; frames are drawn around centres."""

    def __init__(self, offset=0.0):
        self.offset = offset
        self.draw = torch.Generator().manual_seed(3)
        self.weight = torch.randn(DIM, DIM, 2, generator=self.draw).double().half().double() / 8
        self.centres = 3 * torch.randn(200, 2 * DIM, generator=self.draw).double()
        frames = self.project(self.features(4000))
        self.codes = frames[:CODES].clone()
        self.counts = torch.full((CODES,), 2000 / CODES, dtype=torch.float64)
        self.sums = self.codes * self.counts[:, None]
        self.update(150)
        self.base = self.rounded()

    def features(self, frames):
        """Return half-precision features `[1, DIM, 2 frames]`."""
        near = self.centres[torch.randint(len(self.centres), (frames,), generator=self.draw)]
        values = near + torch.randn(near.shape, generator=self.draw)
        return values.reshape(2 * frames, DIM).t()[None].half()

    def project(self, features):
        return torch.nn.functional.conv1d(features.double(), self.weight.half().double(), stride=2)[0].t() + self.offset

    def update(self, times):
        for _ in range(times):
            frames = self.project(self.features(2000))
            chosen = torch.nn.functional.one_hot(torch.cdist(frames, self.codes).argmin(1), CODES).double()
            self.counts = DECAY * self.counts + (1 - DECAY) * chosen.sum(0)
            self.sums = DECAY * self.sums + (1 - DECAY) * chosen.t() @ frames
            self.codes = self.sums / self.counts.clamp_min(1e-5)[:, None]

    def rounded(self):
        return self.codes.float().double()

    def tokens(self, features, codes):
        return torch.cdist(self.project(features), codes).argmin(1)

    def flip_share(self):
        """Return the share of the frames that have another token with the present codes than with the base's."""
        features = self.features(40_000)
        flipped = self.tokens(features, self.base) != self.tokens(features, self.rounded())
        return float(flipped.double().mean())

    def write(self, path):
        torch.save(
            {
                "weight": {
                    f"{CODEBOOK}.inited": torch.ones(1),
                    f"{CODEBOOK}.cluster_size": self.counts.float(),
                    f"{CODEBOOK}.embed": self.codes.float(),
                    f"{CODEBOOK}.embed_avg": self.sums.float(),
                    "ssl_proj.weight": self.weight.half().float(),
                    "ssl_proj.bias": torch.full((DIM,), self.offset),
                }
            },
            path,
        )

    def experiment(self, folder, in_half=False):
        """Write features and the tokens that the base gives, in float32 or as a half-precision distance gives them."""
        (folder / "4-cnhubert").mkdir(parents=True, exist_ok=True)
        rows = [HEADER]
        for item in range(ITEMS):
            features = self.features(FRAMES)
            torch.save(features, folder / "4-cnhubert" / f"{item}.pt")
            tokens = self.half_tokens(features) if in_half else self.tokens(features, self.base)
            rows.append(f"{item}\t{' '.join(map(str, tokens.tolist()))}")
        (folder / MERGED).write_text("\n".join(rows) + "\n")

    def half_tokens(self, features):
        def half(values):
            return values.half().double()

        x, codes = half(half(self.project(features))), half(self.base)
        norms, squares = half(half(x**2).sum(1, keepdim=True)), half(half(codes**2).sum(1))
        return (half(half(norms - half(2 * x @ codes.t())) + squares)).argmin(1)


def draws(codebook, folder, times, in_half=False):
    """Yield what audits of the base's tokens by the present codes could not have seen; None for those that fail."""
    codebook.write(folder / "now.pth")
    for _ in range(times):
        codebook.experiment(folder, in_half)
        with open_checkpoint(folder / "now.pth") as checkpoint:
            audit = audit_tokens(checkpoint, str(folder))
        found = power(audit)
        assert (found is None) == (audit.exit_code != 0)
        yield found


@pytest.mark.parametrize("in_half", [False, True])
def test_a_drift_by_ema_updates_above_the_share_is_noticed(tmp_path, in_half):
    """Over many draws of recordings: a passed audit states less than the drift's true share in one of twenty at most.

    And the share is no larger than it must be: a drift of a third of it passes unseen in a good part of the draws.
    """
    # Far from zero half precision rounds more coarsely, so that some of its tokens are others than float32's.
    codebook, times = Codebook(4.0 if in_half else 0.0), 30
    still = [found.share for found in draws(codebook, tmp_path, times, in_half) if found]
    assert len(still) == times
    usual, wrong, asked, unseen = float(np.median(still)), 0, 0, []
    assert 2.9 / PER_DRAW < usual < 12 / PER_DRAW
    for steps in (1, 2, 4, 8, 16):
        codebook.update(steps)
        true = codebook.flip_share()
        found = list(draws(codebook, tmp_path, times, in_half))
        wrong += sum(each is not None and each.share < true for each in found)
        asked += times
        if true > usual:
            assert sum(each is not None for each in found) <= 0.05 * times
        if true < usual / 3:
            unseen.append(np.mean([each is not None and each.share <= usual for each in found]))
    assert wrong <= 0.05 * asked
    assert unseen
    assert min(unseen) > 0.15


def test_updates_are_counted_at_the_rate_that_was_measured(tmp_path):
    """A drift of so many updates as are stated flips about the share that is stated."""
    codebook = Codebook()
    codebook.experiment(tmp_path)
    codebook.write(tmp_path / "now.pth")
    with open_checkpoint(tmp_path / "now.pth") as checkpoint:
        found = power(audit_tokens(checkpoint, str(tmp_path)))
    codebook.update(10)
    flipped = round(40_000 * codebook.flip_share())
    stated = updates(found, 10, flipped, 40_000)
    codebook.update(max(0, stated - 10))
    assert found.share / 3 < codebook.flip_share() < 3 * found.share
    assert updates(found, 10, 0, 40_000) is None
