"""A module of a name that many packages have."""

WHOSE = "the miniature tree's"
