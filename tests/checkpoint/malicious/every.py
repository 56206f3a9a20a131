"""Files that attack whoever loads them: the published ways around scanners of pickles, with a harmless payload.

Each attack is a sound checkpoint with something hostile in it. The payload, if anything ran it, would make a marker
file. What vqcheck must make of each is recorded with it: READS, the VQ encoder exactly as it is in the sound file, or
REFUSES, exit status 2.
"""

import warnings

from malicious import archives, callables, formats, opcodes, streams
from malicious.base import text


def attacks(marker):
    """Return name -> attack; the payload of each would make a file at `marker`."""
    shell, code = text(f"touch {marker}"), text(f"open({str(marker)!r}, 'w').close()")
    with warnings.catch_warnings():
        # zipfile says that some have a member twice.
        warnings.simplefilter("ignore")
        kinds = [module.attacks(shell) for module in (streams, archives, formats, callables)]
    return {name: attack for kind in (opcodes.attacks(shell, code), *kinds) for name, attack in kind.items()}
