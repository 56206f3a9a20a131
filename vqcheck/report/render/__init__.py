"""Documents to text, JSON and further formats, one file a format."""
