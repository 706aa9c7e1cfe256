"""Video from PipeWire: its client library by ctypes, the parameters that its peers agree on, and one consumer.

Not here: who makes a node (the back ends of ``desktop``), and what becomes of a picture (``capture``).
"""
