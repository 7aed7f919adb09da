"""The same model hosted by other means, for ``benchmarks/peers.py``: hosts, how they are started, and their clients.

Of this project's server nothing is used but how scenes are packed, and, in ``playing``, how a script's states are read.
"""
