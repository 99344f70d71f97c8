"""A whole federation on one machine: broker, server and clients, each a process of its own.

run.py        the order of things, from nothing to the saved model and back to nothing
children.py   starting processes and hearing of their end
nursery.py    the program that they are forked from, once it has imported Keras
central.py    the same network without a federation, to compare with
spectator.py  how the rounds go, read from the federation's topics
"""
