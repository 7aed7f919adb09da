"""The same model hosted by other means, for ``benchmarks/peers.py``: hosts, how they are started, and their clients.

Nothing here imports this project's server, except ``playing``, which turns a script's states into the model's.
"""
