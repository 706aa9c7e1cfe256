"""The host's side of punktfunk/1: its server, who is let in and pairs, what is agreed on, and how frames leave.

Not here: the wire's bytes and state machines (``punktfunk/native``), and what every wire shares (``host/sessions.py``,
``host/stream``): that knows none of this.
"""
