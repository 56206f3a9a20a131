"""What figures depend on beside the program: the machine, what else it does, and the versions of everything."""

import json
import os
import platform
from importlib import metadata

PACKAGES = ("vqcheck", "torch", "numpy", "click", "rich", "safetensors", "sft-cli", "ckptkit")


def machine() -> dict:
    """Return the machine; what cannot be found out here is left out."""
    found = {"platform": platform.platform(), "cores": os.cpu_count(), "cpu": cpu()}
    if hasattr(os, "getloadavg"):
        found["load"] = [round(value, 2) for value in os.getloadavg()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return found


def cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def versions() -> dict:
    """Return the versions; a package that is not installed has None."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def is_editable() -> bool:
    """Say whether vqcheck is installed in place, which makes every start of this Python slower."""
    try:
        origin = metadata.distribution("vqcheck").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return False
    return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))
