"""The command line: one file a command; parse, call, report, exit."""
