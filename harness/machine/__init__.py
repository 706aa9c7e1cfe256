"""Whether the machine was quiet while something was measured, and who took it if not.

:class:`harness.machine.watch.Watch` is a context manager over the span; ``harness.machine.load`` is its part that
counts CPU time alone.

Not here: what was measured, what the machine is (``harness.run.environment``) and what it can do (``harness.doctor``).
"""
