"""What touches a desktop: virtual displays, capture, input, audio, and the session that owns them.

One protocol class and one file a back end in each of ``vdisplay``, ``capture``, ``inject`` and ``audio``.
Nothing here knows encoders or the network; hosts and the reference client put the parts together.
"""
