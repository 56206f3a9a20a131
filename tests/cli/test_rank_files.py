"""`vqcheck diff` of the files that ranks wrote: which of them differ from which, whatever stands first."""

import pytest

from vqcheck.cli.main import main


@pytest.fixture
def ranks(vq_state, save, monkeypatch, tmp_path):
    """Saves files of four ranks; those named have another codebook, the same on each of them."""
    monkeypatch.chdir(tmp_path)

    def write(*others):
        for rank in range(4):
            save(vq_state(seed=int(rank in others)), f"G_4_rank{rank}.pth")
        save(vq_state(seed=0), "base.pth")
        return [f"G_4_rank{rank}.pth" for rank in range(4)]

    return write


@pytest.mark.parametrize(
    ("others", "front", "sides", "said"),
    [
        ((), [], [[0, 1, 2, 3]], "The VQ encoder is the same on ranks 0, 1, 2, 3."),
        ((1, 3), [], [[0, 2], [1, 3]], "The VQ encoder is not the same on ranks 0, 2 and ranks 1, 3."),
        ((0,), [], [[0], [1, 2, 3]], "The VQ encoder is not the same on rank 0 and ranks 1, 2, 3."),
        ((2,), ["base.pth"], [[0, 1, 3], [2]], "The VQ encoder is not the same on ranks 0, 1, 3 and rank 2."),
        ((0, 1, 2, 3), ["base.pth"], [[0, 1, 2, 3]], "The VQ encoder is the same on ranks 0, 1, 2, 3."),
    ],
)
def test_the_headline_says_which_ranks_differ(ranks, capsys, valid, others, front, sides, said):
    """Those that differ from A are compared with each other, too; a base in front is no rank."""
    files = ranks(*others)
    status = main(["diff", *front, *files])
    assert said in " ".join(capsys.readouterr().out.split())
    assert status == (1 if others else 0)
    assert main(["diff", *front, *files, "--format", "json"]) == status
    (found,) = valid(capsys.readouterr().out)["ranks"]
    assert found["sides"] == sides
    assert found["files"] == {str(rank): name for rank, name in enumerate(files)}


def test_a_rank_that_cannot_be_read_is_no_rank_that_agrees(ranks, capsys):
    """The others are compared all the same, and the status is 2."""
    files = ranks()
    with open(files[2], "wb") as file:
        file.write(b"no checkpoint")
    assert main(["diff", *files]) == 2
    assert "is the same on ranks 0, 1, 3." in " ".join(capsys.readouterr().out.split())
