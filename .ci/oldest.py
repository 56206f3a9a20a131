"""Prints the oldest version of each dependency that pyproject.toml allows, as constraints for pip."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
wanted = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
for each in wanted:
    print(re.sub(r"(\[.*?\])?>=", "==", each, count=1))
