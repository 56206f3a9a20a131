"""Networks of the miniature tree."""
