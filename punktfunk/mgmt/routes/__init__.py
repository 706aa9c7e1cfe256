"""The operations, a file for each part of the host that they show or change.

A new file is named in ``ROUTERS`` (``app``). What it asks of the host stands in ``interface`` or ``live``, which
``host/management.py`` and ``host/live.py`` fulfil; what anybody may ask in ``gate.OPEN_PATHS`` and
``openapi._OPEN_OPERATIONS``. ``nox -s docs`` writes the document.

Not here: who may call them (``gate``), and what they do to a host (``interface``).
"""
