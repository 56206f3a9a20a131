"""vqcheck: does the codebook of a two-stage VQ speech model stay the same between the stages?"""

__version__ = "0.1.0"
