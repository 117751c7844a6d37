"""How each command is called: its help and its arguments, a module a command.

Nothing here imports the rooms that do the work, numba and scikit-learn among them: help, and what is wrong with a call,
are told at once.
"""
