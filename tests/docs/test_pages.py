"""The Python of the pages in docs/ runs, block after block of a page."""

import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDED = {"callbacks": ("lightning", "accelerate")}


@pytest.mark.parametrize("page", ["guard", "monitor", "freeze", "compare", "callbacks"])
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    for name in NEEDED.get(page, ()):
        if find_spec(name) is None:
            pytest.skip(f"needs the extra [integrations]: {name} is not installed")
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": f"docs.{page}"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"docs/{page}.md, block {number}", "exec"), names)
    assert blocks
