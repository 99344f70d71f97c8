"""Records <-> bytes. The only package that imports an Avro library."""
