"""A remote training file of 830 MB, compared and inspected: bytes and requests, against downloading it whole.

The server is on the loopback, so times say nothing; what travels does.
"""

import subprocess
import sys
from pathlib import Path

from checkpoints import sparse
from processes import vqcheck
from results import Figure, Measured
from run import Run, isolated

sys.path.insert(0, str(Path(__file__).parents[1]))
from loopback import serving

MB, REQUESTS = "MB", "requests"


def measure(run: Run):
    megabytes = 40 if run.quick else 830
    base, local = run.folder / "remote.pth", run.folder / "local.pth"
    for place in (base, local):
        isolated(sparse, place, megabytes)
    size = base.stat().st_size / 1e6
    figures = []
    with serving(files={"/remote.pth": base}) as server:
        remote = f"{server.url}/remote.pth"
        for name, command in {
            "diff of a remote base and a local file": vqcheck("diff", remote, local),
            "inspect of a remote file": vqcheck("inspect", remote),
            "inspect --no-digests of a remote file": vqcheck("inspect", "--no-digests", remote),
        }.items():
            run.stage(name)
            server.sent = 0
            server.asked.clear()
            subprocess.run(command, check=True, capture_output=True)
            named = f"{name}, {megabytes} MB"
            whole = Measured("downloading it whole", (size,))
            figures += [
                Figure("remote", named, MB, Measured("vqcheck", (server.sent / 1e6,)), (whole,)),
                Figure("remote", named, REQUESTS, Measured("vqcheck", (float(len(server.asked)),))),
            ]
    return figures
