"""The fault matrix: every fault that users meet. Each must end with the oracle's bytes, or with a sentence.

`cases/` has the cases, `make faults` runs them all with random timing, `test_short_form.py` a few of them. A run of
a case gets a seed, from which it draws everything that is not given; the same seed draws the same again.
"""
