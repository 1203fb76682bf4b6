"""The losses, family by family: a module or a package each, which stands on `jaxlosses.core` and the registry."""
