"""Processes at the two ends of a live link: ours or a foreign program's, each in its namespace.

Not here: how a process is put into a namespace (``network``), and the link between them (``link``).
"""
