"""Subject x strategy -> trace: runs the s2 training step and watches every tensor of the VQ encoder. Needs torch."""
