"""What the report says in words: how each thing is counted. No figures."""

from __future__ import annotations

BY = "\u00d7"

HEAD = """# Stress test: the same federation over Kafka and over gRPC

Written by `python evaluations/stress_test.py` (`fdstream stress`). Over both channels run the same cores, codecs and
sums; what differs is the transport. One server, one broker, all on one machine."""

COUNTED = """Of the whole run, from the start of its first process to the end of its last: joining, {rounds} rounds of
training (one more than are timed), the final model to everybody, leaving. *Records* are the protocol's: counted, with
their bytes (key and value), where a process hands them to its log or takes them from it. *Packets* and bytes *on the
wire* are {wire}."""

WIRE = """counted by the queue that the kernel keeps before each end of the party's own virtual link, after
segmentation, with all headers from Ethernet's on: what would pass on a real wire with an MTU of 1,500 bytes, and the
same count for both channels"""

SOCKETS = """what TCP has counted at the sockets of the party's processes (`ss --info`), bytes of payload and 66 bytes
of headers for each segment; all share this machine's loopback ({network}), whose segments have up to 64 KB, so on a
wire there would be more packets. The same count for both channels"""

NO_WIRE = """not counted: all parties share this machine's loopback ({network})"""

REQUESTS = """*Protocol requests*: over Kafka the requests that librdkafka sent and the responses it got, from its own
statistics, summed over all handles (up to a second before a handle's end); over gRPC the messages of the HTTP/2
streams, counted where a client writes and reads them. A request of Kafka may carry many records, or none."""

ADDING_UP = f"""Do the numbers add up? Records {BY} their mean size, the headers of all packets (66 bytes each), and
the rest, which is the protocol's: frames, acknowledgements, questions, metadata, what was fetched twice or too early.
A direction in which hardly a record goes consists of acknowledgements."""

EXPECTED = """And the payload of the records, against what the plan alone says it must be:"""

TIMES = """{rounds} rounds, from the opening of the first to the closing of the last; the round before them, in which
processes start and connect, is left out. *Training* is what the slowest client of each round spent in its training
function. A round lasts from its RoundOpened (the log's timestamp) to the server having read RoundClosed."""

UPDATES = """From RoundOpened (the log's timestamp, on this machine's clock) to a client holding the whole model, its
digests verified; for *all devices* to the last of them. Back: from a client having trained to the server having
accepted its report, which follows the acknowledgement of its whole update."""

COSTS = """Processor seconds are the kernel's account of the whole run, start of Python included. Memory is the peak
resident size, summed over the processes of a party. Egress and ingress are those of the server's link: bytes on the
wire in each round, divided by the model's bytes, and by the bytes of all updates."""

CENTRE = """{title}: {rounds} rounds. *Federated*: all bytes on the clients' links, both ways, {how}. *Raw data*:
every client sends its training examples to a centre once, 64 pixels and a digit of a byte each, without any overhead:
the least that it can be. Where the data is so small, federating costs more bytes than it saves: it is then for
privacy, not for the network. It saves bytes as soon as a client's data is larger than what a client sends and
receives here."""
