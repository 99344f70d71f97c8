"""The stress harness: the same federation over Kafka and over gRPC, measured on this machine by one command.

plan.py          what is asked for, and which processes that makes. Pure
network.py       hosts: a network namespace for each party, with a link of its own; or all on loopback
wire.py          what the kernel counts on a link, and what that is on a wire. Pure
crew.py          the processes on the hosts: started, watched, their processor time and memory
broker.py        the one broker of all runs
trial.py         one federation over one channel: what was observed of it
observation.py   that, as values
measurement.py   observations folded into figures. Pure
run.py           everything in its order, from nothing to a report and back to nothing
report.py        figures as Markdown and JSON. Pure
plots.py         figures as pictures
"""
