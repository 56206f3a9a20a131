"""Named tensors to a VQ encoder, its digest, and what happened between two of them. No torch."""
