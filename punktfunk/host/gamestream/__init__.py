"""The host's side of GameStream: its HTTP, RTSP and control servers, its sessions, and how frames and sound leave.

Not here: the wire's bytes and state machines (``punktfunk/gamestream``), and what every wire shares
(``host/sessions.py``, ``host/stream``): that knows none of this.
"""
