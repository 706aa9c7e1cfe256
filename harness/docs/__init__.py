"""Pages and schemas that are made from the code: command line, metrics, scenarios, the host's API and settings.

Not here: pages that a person writes (the repository's ``docs/``).
"""
