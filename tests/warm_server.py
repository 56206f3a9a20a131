"""Forks a process for each command of vqcheck, or Python script, that tests run, having imported what those import.

A fork starts in a hundredth of the time that a new interpreter with numpy or torch takes, and differs from one in
nothing that a program can see: folder, environment, limits, streams and modules are its own. Takes requests on the
socket whose number is the first argument; the second is `torch` where programs train.
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
import runpy
import signal
import socket
import struct
import sys
import traceback

RUN_BY_PATH = "vqcheck.replay.checkout.child.__main__"
WITHOUT_TORCH = ("checkpoint", "codebook", "experiment", "audit", "report", "cli")
WITH_TORCH = ("live", "synthesizer", "replay", "restore", "gate")
WAITING = {}
"""Process -> the socket on which its status is awaited."""


def warm_up(with_torch):
    for package in WITHOUT_TORCH + (WITH_TORCH if with_torch else ()):
        # What needs a package that is not there is no part of the command as it is installed here.
        with contextlib.suppress(ImportError):
            folder = importlib.import_module(f"vqcheck.{package}").__path__
            for module in pkgutil.walk_packages(folder, f"vqcheck.{package}."):
                if module.name != RUN_BY_PATH:
                    importlib.import_module(module.name)
    if with_torch:
        import torch
        import torch._dynamo  # what torch itself imports at the first step of an optimizer
        import torch.utils.data  # noqa: F401
    else:
        assert "torch" not in sys.modules


def stream(number, encoding, errors):
    file = os.fdopen(number, "rb" if number == 0 else "wb", closefd=False)
    return io.TextIOWrapper(file, encoding, errors, write_through=number == 2, line_buffering=number == 2)


def become(request, streams):
    """Make this process what a new interpreter would be."""
    if request["session"]:
        os.setsid()
    for number in range(3):
        os.dup2(streams[number], number)
        os.close(streams[number])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.umask(request["umask"])
    for number, limits in request["limits"]:
        resource.setrlimit(number, limits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdin = sys.__stdin__ = stream(0, encoding, errors or "strict")
    sys.stdout = sys.__stdout__ = stream(1, encoding, errors or "strict")
    sys.stderr = sys.__stderr__ = stream(2, encoding, "backslashreplace")
    sys.argv = [request["script"] or "vqcheck", *request["arguments"]]
    # as -m has it, and as a script has it, which may stand anywhere
    sys.path.insert(0, os.path.dirname(request["script"]) if request["script"] else os.getcwd())


def run(request, streams):
    """End this process as the program ends."""
    code = 1
    try:
        become(request, streams)
        if request["script"]:
            runpy.run_path(request["script"], run_name="__main__")
            code = 0
        else:
            from vqcheck.cli.main import main

            code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - an interpreter ends in a traceback, whatever the exception
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def reap(*_):
    """Tell those who wait for a process that it has ended, and how."""
    with contextlib.suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            with WAITING.pop(process) as waiting, contextlib.suppress(OSError):
                waiting.sendall(struct.pack("<i", os.waitstatus_to_exitcode(status)))


def main():
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, reap)
    del sys.path[0]
    warm_up(sys.argv[2:] == ["torch"])
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page
    while True:
        message, handed, _, _ = socket.recv_fds(requests, 1 << 16, 4)
        if not message:
            return
        while not message.endswith(b"\n"):
            message += requests.recv(1 << 16)
        waiting = socket.socket(fileno=handed[3])
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        process = os.fork()
        if process == 0:
            for each in (requests, waiting, *WAITING.values()):
                each.close()
            run(json.loads(message), handed[:3])
        waiting.sendall(struct.pack("<i", process))
        WAITING[process] = waiting
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for number in handed[:3]:
            os.close(number)


if __name__ == "__main__":
    main()
