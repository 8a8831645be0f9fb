"""How long the product takes, beside a floor or another way to do the same work.

What belongs here: the measured work, what it is measured against, the load it is given, and the
check that both did the same. What doesn't: promises, which are tests.
"""
