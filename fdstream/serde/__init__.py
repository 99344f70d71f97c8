"""Bytes on the wire: records as Avro, each in one fixed form. The only place that imports fastavro."""
