"""Checkpoints that lie elsewhere: addresses, and exact reads of parts of a remote file. Nothing heavy is imported."""
