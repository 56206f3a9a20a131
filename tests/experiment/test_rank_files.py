"""Files of the ranks of one step are known by their names, and others are not taken for such."""

import pytest

from vqcheck.experiment.rank_files import ranks_of_one_step


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["G_4_rank0.pth", "G_4_rank1.pth"], [{0: "G_4_rank0.pth", 1: "G_4_rank1.pth"}]),
        (["a/rank-1/m.pt", "a/rank-0/m.pt"], [{0: "a/rank-0/m.pt", 1: "a/rank-1/m.pt"}]),
        (["step_r10.pt", "step_r9.pt"], [{9: "step_r9.pt", 10: "step_r10.pt"}]),
        (["Rank_00.pt", "Rank_01.pt", "base.pth"], [{0: "Rank_00.pt", 1: "Rank_01.pt"}]),
        (
            ["G_4_rank0.pth", "G_8_rank0.pth", "G_4_rank1.pth", "G_8_rank1.pth"],
            [{0: "G_4_rank0.pth", 1: "G_4_rank1.pth"}, {0: "G_8_rank0.pth", 1: "G_8_rank1.pth"}],
        ),
        (["lora_r16.pth", "lora_r32.pth"], []),
        (["rank0.pth", "rank0.pth"], []),
        (["G_0.pth", "G_1.pth"], []),
        (["shar0.pth", "shar1.pth"], []),
        (["v3_e2_s50_l32.pth"], []),
    ],
)
def test_only_names_that_differ_in_a_rank_are_one_step(names, groups):
    """Whatever stands around it, the number of the rank is all that may differ."""
    assert list(ranks_of_one_step(names)) == groups
