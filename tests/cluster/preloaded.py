"""What servers and clients import, so that a fork has it already. Makes no handle and no thread."""

# ruff: noqa: F401

import fdstream.cli.client
import fdstream.cli.server
import fdstream.client.connect
import fdstream.client.connection
import fdstream.display
import fdstream.examples.synthetic
import fdstream.npz
import fdstream.server.start
import tests.cluster.apps
import tests.faults.stops
