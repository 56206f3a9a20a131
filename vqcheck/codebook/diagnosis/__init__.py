"""What happened between two VQ encoders that differ: evidence, cause, consequence, advice."""
