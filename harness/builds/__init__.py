"""Other builds of this project: made from revisions, folders and wheels, run in turn, compared, and searched through.

``origin`` names them, ``make`` makes and ``cache`` keeps them, ``worker`` runs their cases by ``driver`` in an
environment of their own, ``pairing`` runs two in turn, ``outcomes`` says what that comes to and ``folders`` keeps it;
``ab`` and ``bisect`` are the commands.

Not here: how a case runs, which each build does by its own harness, and what pairs say (``analysis.paired``).
"""
