"""A running desktop of any kind, by xdg-desktop-portal: its user is asked once, and what was granted is kept.

``examine`` tells whether a portal can be asked, ``choice`` what to ask it for by what it offers, ``requests`` asks it,
``session`` opens what is streamed, ``started`` reads what was granted, ``granted`` holds all that belongs to it,
``grants`` keeps the token that renews it, ``notify`` puts input in where a portal knows no EIS, and ``portal_desktop``
makes a :class:`punktfunk.desktop.Desktop` of it all. ``permission`` is what a user orders by command.

Not here: the D-Bus connection (``session_bus``), pictures (``capture``) and EIS (``inject``).
"""
