"""Others that do the same work: a bare pipe between two processes, which is the ceiling, and the peers from PyPI."""
