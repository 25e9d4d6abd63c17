"""What whole numbers do to a detector: simulated for absent boards, executed on this machine.

:mod:`~edgehone.deploy.integer.tensors` collects what passes the tensors of the exported graph,
:mod:`~edgehone.deploy.integer.calibration` chooses their ranges, :mod:`~edgehone.deploy.integer.plan` says what is held
how, :mod:`~edgehone.deploy.integer.simulator` calculates with it, :mod:`~edgehone.deploy.integer.gate` repairs what
loses too much, and :mod:`~edgehone.deploy.integer.qdq` writes it into the graph.
"""
