"""Bytes to named tensors: opens checkpoints lazily and never executes a pickle."""
