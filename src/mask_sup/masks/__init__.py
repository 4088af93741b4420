"""Masks of people from their videos, without labels, and a gate that finds the bad ones.

`extract.py` makes masks of footage and goes on after a kill, `footage.py` says what the input is,
`person.py` whom to keep; the extractors are in `background.py`, `graph_cut.py`, `chroma.py`,
`precomputed.py` and `learned.py`. `gate.py` flags bad masks, `sheet.py` shows them.
"""
