"""A user's GPT-SoVITS checkout, trained in a child process of its own Python. Needs torch on both sides."""
