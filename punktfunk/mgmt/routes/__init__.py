"""The operations, a file for each part of the host that they show or change.

Not here: who may call them (``gate``), and what they do to a host (``interface``).
"""
