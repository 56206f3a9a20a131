"""Reports for browsers: one self-contained page a run, without script, and never larger than 100 KB."""
