"""The management API and the web console: HTTP in front of a host that is seen through :mod:`.interface` only.

Not here: what a request does to a host (``host/management.py``, ``host/live.py``), and anything of a wire.
"""
