"""A frame comes back as it was sent, and bytes that are none are an error with a sentence."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.errors import RemoteError
from fdstream.grpc import frames
from fdstream.topics import table

topics = st.sampled_from([spec.name for spec in table.topic_specs(2)]) | st.text(max_size=20)
partitions = st.integers(0, 2**32 - 1)
numbers = st.integers(0, 2**62)
keys = st.binary(max_size=70)
values = st.binary(max_size=200)
seconds = st.floats(allow_nan=False)

FRAMES = st.one_of(
    st.builds(frames.Hello, topics),
    st.builds(frames.Append, topics, partitions, numbers, keys, values),
    st.builds(frames.Follow, topics, partitions, numbers),
    st.builds(frames.Unfollow, topics, partitions),
    st.builds(frames.Ask, topics, numbers, st.booleans()),
    st.builds(frames.Delivery, topics, partitions, numbers, seconds, keys, values),
    st.builds(frames.Gone, topics, partitions, numbers),
    st.builds(frames.Ack, numbers, numbers),
    st.builds(frames.Offsets, numbers, st.lists(numbers, max_size=5).map(tuple)),
)


def refused_or_read(data: bytes) -> None:
    """Any other exception fails the test."""
    with suppress(RemoteError):
        frames.decode(data)


@given(FRAMES)
def test_a_frame_comes_back_as_it_was_sent(frame: frames.Frame) -> None:
    assert frames.decode(frames.encode(frame)) == frame


@given(FRAMES, st.data())
def test_a_frame_cut_short_is_another_or_an_error_and_nothing_else(
    frame: frames.Frame, data: st.DataObject
) -> None:
    whole = frames.encode(frame)
    refused_or_read(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=60))
def test_no_bytes_make_a_reader_fail_otherwise(data: bytes) -> None:
    refused_or_read(data)


@pytest.mark.parametrize("data", [b"", b"\xff" * 6, b"\x01\x00\x00\x00\x00\x00"])
def test_what_is_no_frame_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(RemoteError, match="do both sides run the same fdstream"):
        frames.decode(data)
