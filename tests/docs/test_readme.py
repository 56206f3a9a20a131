"""The README in both languages: the same commands and examples, and what it says of itself is true.

Its commands run in `test_commands.py`, with those of docs/.
"""

import re

import pytest
import torch
from documents import CHINESE, ENGLISH, LANGUAGES, ROOT, blocks, lines, without_remarks

import vqcheck as library
from vqcheck.errors import CodebookChanged
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer


def test_every_block_is_of_a_kind_that_is_tested():
    """A block in another language would rot unseen."""
    assert {language for language, _ in blocks(ENGLISH)} <= LANGUAGES


def test_the_install_commands_are_what_the_projects_own_check_runs():
    """`.ci/run` runs both of them in a clean clone."""
    venvs = [line for line in lines(ENGLISH, "sh") if line.startswith("python3 -m venv")]
    assert [("replay$" in line + "$", "pytest" in line) for line in venvs] == [(True, False), (False, True)]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "'vqcheck replay$' 'pytest -n 2$'" in script


def test_the_python_example_guards_a_model(monkeypatch):
    """It runs as it stands, silent on a frozen model and firing on another."""
    net_g = torch.nn.Module()
    net_g.ssl_proj = torch.nn.Conv1d(8, 8, 2, stride=2)
    net_g.quantizer = ResidualVectorQuantizer(8, bins=16)
    net_g.quantizer(torch.randn(2, 8, 40))
    [text] = [text for language, text in blocks(ENGLISH) if language == "python"]

    def train_on(batch):
        net_g.train()
        net_g.quantizer(net_g.ssl_proj(batch))

    names = {
        "vqcheck": library,
        "net_g": net_g,
        "train_on": train_on,
        "loader": [torch.randn(2, 8, 40) for _ in range(3)],
    }
    exec(text, dict(names))
    library.unfreeze(net_g)
    monkeypatch.setattr(library, "freeze", id)  # which holds nothing
    with pytest.raises(CodebookChanged):
        exec(text, dict(names))


@pytest.mark.parametrize("pair", [(ENGLISH, CHINESE), (CHINESE, ENGLISH)])
def test_each_readme_links_the_other_first(pair):
    """A reader who lands on the wrong one sees the other within the first lines."""
    readme, other = pair
    assert f"({other.name})" in "\n".join(readme.read_text(encoding="utf-8").splitlines()[:5])


def test_the_chinese_readme_has_the_same_commands_and_examples():
    """Its blocks are those of the English one, but for the remarks in them."""
    english, chinese = (
        [(kind, without_remarks(text)) for kind, text in blocks(readme)] for readme in (ENGLISH, CHINESE)
    )
    assert chinese == english


def test_both_readmes_have_the_same_sections():
    """As many headings of each level, in the same order, and as many rows of tables."""

    def outline(readme):
        return [
            re.match(r"#+|\|", line)[0]
            for line in readme.read_text(encoding="utf-8").splitlines()
            if re.match(r"#+ |\|", line)
        ]

    assert outline(CHINESE) == outline(ENGLISH)
