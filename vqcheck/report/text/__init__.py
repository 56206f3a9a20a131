"""Reports for people, one file for each command."""
