"""Network namespaces, the devices and addresses in them, packet capture, and what is left behind by a killed run.

Not here: what shapes or breaks a link (``link``).
"""
