"""Masks of people from their videos, without labels, and a gate that finds the bad ones.

`extract.py` makes masks of footage and goes on after a kill, `footage.py` says what the input is;
the extractors are in `background.py`, `graph_cut.py`, `chroma.py`, `precomputed.py` and
`learned.py`. Whom to keep: `survey.py` follows everybody in one camera (`tracks.py`), `views.py`
over all of them (`hull.py`), `person.py` takes one out. `gate.py` flags bad masks, `sheet.py`
shows them.
"""
