"""A host that starts by itself: its systemd unit, the manager that runs it, and what of the machine goes with it.

Not here: what a running host says to its manager (``process/service_manager.py``), and what is printed of all this
(``cli_service.py``).
"""
