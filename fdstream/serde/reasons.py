"""Why bytes are no record of this protocol: the small fixed set that is counted and written to `rejected`."""

from enum import StrEnum


class Reason(StrEnum):
    """`Refusal.reason` for bytes that the decoder does not take."""

    NOT_A_RECORD = "not a record"  # no single-object marker
    UNKNOWN_SCHEMA = "unknown schema"  # a fingerprint that is none of ours
    UNEXPECTED_RECORD = "unexpected record"  # one of ours, in the wrong place
    OVERSIZED = "oversized"
    TRUNCATED = "truncated"  # shorter than the lengths in it claim
    TRAILING_BYTES = "trailing bytes"
    MALFORMED = "malformed"  # text that is no UTF-8, a union branch that does not exist
    NOT_CANONICAL = "not canonical"  # readable, but not the one form that writing it gives
    OUT_OF_RANGE = "out of range"  # well formed, but a value breaks the protocol's limits
