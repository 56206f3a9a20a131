"""The pages of docs/: their Python runs, block after block; every page is reached, and no link is dead."""

import re
import sys
import types
import warnings
from importlib.util import find_spec

import pytest
from documents import CHINESE, ENGLISH, LANGUAGES, PAGES, ROOT, blocks

from vqcheck import __version__
from vqcheck.codebook.own_family import read_own_family

NEEDED = {"callbacks": ("lightning", "accelerate")}
WITH_PYTHON = [page for page in PAGES if any(language == "python" for language, _ in blocks(page))]
OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]


def called(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=called)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    for name in NEEDED.get(page.stem, ()):
        if find_spec(name) is None:
            pytest.skip(f"needs the group integrations: {name} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, f"docs.{page.stem}", types.ModuleType(f"docs.{page.stem}"))
    names = {"__name__": f"docs.{page.stem}"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for number, (language, block) in enumerate(blocks(page), 1):
            if language == "python":
                exec(compile(block, f"{called(page)}, block {number}", "exec"), names)


def test_pages_with_python_are_found():
    assert {"compare", "freeze", "guard", "monitor"} <= {page.stem for page in WITH_PYTHON}


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_every_block_is_of_a_kind_that_is_tested(page):
    """`py` is Python that needs an account or a program that is not there; nothing else is left untested."""
    assert {language for language, _ in blocks(page)} <= LANGUAGES | {"py"}


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_toml_of_a_page_describes_a_family(page, tmp_path):
    """`--family` takes it as it stands."""
    for language, text in blocks(page):
        if language == "toml":
            (tmp_path / "codec.toml").write_text(text, encoding="utf-8")
            assert read_own_family(str(tmp_path / "codec.toml")).name


@pytest.mark.parametrize("document", [ENGLISH, CHINESE, *PAGES, *OTHERS], ids=called)
def test_what_a_document_links_exists(document):
    """No link or picture within the project is dead, whether it is a file or a file of this repository on GitHub."""
    text = document.read_text("utf-8")
    local = [
        link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link and not link.startswith("mailto:")
    ]
    there = re.findall(r"https://github\.com/vqcheck/vqcheck/(?:blob|tree)/main/([^)#\s]+)", text)
    assert [link for link in local if not (document.parent / link).exists()] == []
    assert [link for link in there if not (ROOT / link).exists()] == []


def test_every_page_stands_in_the_navigation():
    """A page that nobody reaches does not exist."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").split("nav:\n")[1]
    listed = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)


def test_the_changelog_has_this_version_first():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == __version__
