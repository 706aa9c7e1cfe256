"""Processes of punktfunk: workers, the channel to them, how they end, what they leave behind.

Not here: what a worker does (``host``, ``client``), and programs of a desktop (``desktop``).
"""
