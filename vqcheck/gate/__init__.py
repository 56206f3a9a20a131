"""Named checks over everything else, which say whether s2 training may start."""
