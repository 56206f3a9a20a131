"""Pages for browsers: one self-contained file a run, without script."""

from vqcheck.report.render.html.page import render

__all__ = ["render"]
