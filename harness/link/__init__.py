"""Links: ``sim`` in virtual time, ``tun`` and ``netem`` between network namespaces, and the probe that checks them.

``base`` is what the live ones have in common.

Not here: what runs a case on them (``run``), and the namespaces they join (``network``).
"""
