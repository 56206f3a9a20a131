"""The family table: one row for each codec whose VQ encoder vqcheck knows by name.

The rows are sorted into one file for each way a codebook comes about. Where two rows fit a file equally well, the
earlier one is taken.
"""

from typing import Final

from vqcheck.codebook.families.derived import DERIVED
from vqcheck.codebook.families.ema import EMA_FAMILIES
from vqcheck.codebook.families.fixed import FIXED
from vqcheck.codebook.families.gradient import GRADIENT_FAMILIES
from vqcheck.codebook.families.structural import STRUCTURAL
from vqcheck.codebook.families.vector_quantize_pytorch import VECTOR_QUANTIZE_PYTORCH

FAMILIES: Final = (*EMA_FAMILIES, *VECTOR_QUANTIZE_PYTORCH, *DERIVED, *GRADIENT_FAMILIES, *FIXED, *STRUCTURAL)
