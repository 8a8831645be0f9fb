"""What a careful person would write: streams, sets, `str.translate`, and a library for the numbers.

It is `expert.py` without the numbers' own short cut: `competent.py RECIPIENTS STOP_LIST OUT`.
"""

import sys

import expert

if __name__ == "__main__":
    expert.main(*sys.argv[1:], expert.asked)
