"""The digest of recorded tokens is that of their sorted lines, however they are sorted."""

import hashlib

from vqcheck.audit.bound_files import tokens_digest
from vqcheck.experiment.name2semantic import HEADER, MERGED


def test_lines_are_sorted_whole_also_where_items_repeat_or_begin_alike(tmp_path):
    """Names with what sorts below a tab or a blank, and an item with several rows."""
    lines = ["b\t2 3", "a b\t1", "a\t10", "a\t9 1", "a\x01\t4", "a\t9", "\u00e9\t5", "a-\t7 8", "Z\t0", "a\t10"]
    (tmp_path / MERGED).write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    whole = "".join(f"{line}\n" for line in sorted(lines)).encode()
    assert tokens_digest(str(tmp_path)).hex == hashlib.sha256(whole).hexdigest()
