"""Where a measurement was made."""

import importlib.metadata
import os
import platform

import jax


def describe(*packages: str) -> str:
    """Device, cores and versions, in one line."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    device = f"{jax.devices()[0].device_kind} ({jax.default_backend()})"
    return f"{device}, {os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}; {versions}."
