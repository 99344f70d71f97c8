"""A client: its session as a pure core, and the loop that hands out tasks. Imports no machine learning library."""
