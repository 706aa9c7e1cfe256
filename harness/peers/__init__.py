"""Both ends of a stream behind one class: programs on a live link, ours or foreign; a simulation; a served desktop.

Not here: how a process is put into a namespace (``network``), and the link between them (``link``).
"""
