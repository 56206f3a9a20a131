"""Runs commands of vqcheck, each in a fork of this process, which has imported what they import.

A fork starts in a hundredth of the time that a new interpreter with numpy or torch takes, and differs from one in
nothing that a command can see: folder, environment, limits, streams and modules are its own. Takes requests on the
socket whose number is the first argument; the second is `torch` where commands train.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import signal
import socket
import sys
import traceback

RUN_BY_PATH = "vqcheck.replay.checkout.child"
WITHOUT_TORCH = ("checkpoint", "codebook", "experiment", "report", "cli")


def warm_up(with_torch):
    import vqcheck

    for module in pkgutil.walk_packages(vqcheck.__path__, "vqcheck."):
        if module.name not in (RUN_BY_PATH, "vqcheck.__main__") and (
            with_torch or module.name.split(".")[1] in WITHOUT_TORCH
        ):
            # What needs a package that is not there is no part of the command as it is installed here.
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    if with_torch:
        import torch
        import torch._dynamo  # what torch itself imports at the first step of an optimizer
        import torch.utils.data  # noqa: F401


def stream(number, encoding, errors):
    return io.TextIOWrapper(os.fdopen(number, "wb", closefd=False), encoding, errors, write_through=number == 2)


def become(request, out, err):
    """Make this process what `python -m vqcheck ARGUMENTS` would be."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.umask(request["umask"])
    for number, limits in request["limits"]:
        resource.setrlimit(number, limits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    encoding, _, errors = os.environ["PYTHONIOENCODING"].partition(":")
    sys.stdout, sys.stderr = stream(1, encoding, errors or "strict"), stream(2, encoding, "backslashreplace")
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    sys.argv = ["vqcheck", *request["arguments"]]
    sys.path.insert(0, os.getcwd())


def run(request, out, err):
    code = 1
    try:
        become(request, out, err)
        from vqcheck.cli.main import main

        code = main()
        sys.stdout.flush()
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - an interpreter ends in a traceback, whatever the exception
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main():
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]
    warm_up(sys.argv[2:] == ["torch"])
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page
    while True:
        message, streams, _, _ = socket.recv_fds(requests, 1 << 16, 2)
        if not message:
            return
        while not message.endswith(b"\n"):
            message += requests.recv(1 << 16)
        child = os.fork()
        if child == 0:
            requests.close()
            run(json.loads(message), *streams)
        for number in streams:
            os.close(number)
        _, status = os.waitpid(child, 0)
        requests.send(b"%d" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
