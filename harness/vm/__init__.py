"""A virtual machine whose kernel has what this machine's may lack: ``sch_netem``.

Debian's stock kernel runs under QEMU's software emulation on this machine's own root file system (9p,
read-only, with a RAM overlay), so the Python environment and the repository are the ones outside. No
network, no disk image, no privileges. ``python -m harness.vm`` proves the netem link in it, with ``--prove
dma-buf`` the way of DMA-BUFs; ``python -m harness.vm -- COMMAND`` runs anything.

Not here: the link that is proven in it (``link``).
"""
