"""Ways to run the model's networks on the CPU, for ``benchmarks/backends.py``: each in a process of its own.

``onnxruntime_way`` and ``openvino_way`` do not import torch, for the two slow each other down in one process.
"""
