"""Links: ``sim`` in virtual time, ``tun`` and ``netem`` between network namespaces, and the probe that checks them.

``base`` is what the live ones have in common, ``live`` runs a case on one of them.
"""
