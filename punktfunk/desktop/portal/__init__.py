"""A running desktop of any kind, by xdg-desktop-portal: its user is asked once, and what was granted is kept.

``choice`` says what to ask a portal for by what it offers, ``requests`` asks it, ``session`` opens what is streamed,
``started`` reads what was granted, ``grants`` keeps the token that renews it, ``notify`` puts input in where a portal
knows no EIS, and ``portal_desktop`` makes a :class:`punktfunk.desktop.Desktop` of it all.

Not here: the D-Bus connection (``session_bus``), pictures (``capture``) and EIS (``inject``).
"""
