"""A hook of mkdocs: the README's pictures become part of the site. Links to them work where docs/ is read as files."""

from pathlib import Path

from mkdocs.structure.files import File

PICTURES = Path(__file__).parents[1] / "fixtures" / "pictures"


def on_files(files, config):
    for each in sorted(PICTURES.glob("*.svg")):
        files.append(File.generated(config, f"pictures/{each.name}", abs_src_path=str(each)))
    return files


def on_page_markdown(markdown, **_):
    return markdown.replace("../fixtures/pictures/", "pictures/")
