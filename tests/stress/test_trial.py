"""What a trial sees of a federation while it runs."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdstream.stress.trial import _ClosedRounds

MOMENTS = st.sampled_from(["round closed", "report", "model received"])
STRANGE = 'a client named {"moment":"round closed"'


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOMENTS, max_size=20), st.lists(st.integers(0, 3000), max_size=6))
def test_closed_rounds_are_counted_as_their_file_grows(
    tmp_path: Path, moments: list[str], cuts: list[int]
) -> None:
    lines = [json.dumps({"moment": name, "client": STRANGE}).encode() + b"\n" for name in moments]
    content, file = b"".join(lines), tmp_path / "moments.jsonl"
    file.unlink(missing_ok=True)
    closed = _ClosedRounds(file)
    assert closed.count() == 0, "there is no file yet"
    places = sorted({0, len(content), *(min(cut, len(content)) for cut in cuts)})
    for start, end in pairwise(places):
        with file.open("ab") as grown:
            grown.write(content[start:end])
        seen = file.read_bytes()
        naive = sum(json.loads(line)["moment"] == "round closed" for line in seen.split(b"\n")[:-1])
        assert closed.count() == naive
