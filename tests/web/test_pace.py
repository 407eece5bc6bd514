import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from rdpprov.web.pace import FrameCounter, Pace


@given(st.lists(st.floats(0, 3), min_size=1, max_size=300))
def test_frames_come_through_at_their_rate_and_a_seconds_worth_at_once(gaps):
    now = 0.0
    pace = Pace(10, lambda: now)
    read = []
    for gap in gaps:
        now += gap
        now += pace.delay()
        assert pace.delay() == pytest.approx(0, abs=1e-6)
        pace.count(1)
        read.append(now)
    for start in range(len(read)):
        inside = [at for at in read[start:] if at <= read[start] + 1]
        assert len(inside) <= 21  # those of a second, and those that were saved up before


def test_many_at_once_are_paid_for_afterwards():
    pace = Pace(100, lambda: 5.0)
    pace.count(350)
    assert pace.delay() == pytest.approx(2.5)


FRAMES = st.one_of(
    st.builds(lambda size: ("data", bytes(size)), st.sampled_from([0, 1, 125, 126, 127, 65535, 65536])),
    st.builds(lambda size: ("ping", bytes(size)), st.integers(0, 125)),
)


@given(st.lists(FRAMES, max_size=10), st.booleans(), st.data())
def test_frames_are_counted_however_their_bytes_are_cut(frames, is_client, data):
    protocol = FrameProtocol(is_client, [])
    sent = b"".join(
        bytes(protocol.send_data(payload) if kind == "data" else protocol.ping(payload)) for kind, payload in frames
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    counter = FrameCounter()
    parts = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert sum(counter.receive_data(part) for part in parts) == len(frames)


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_are_counted_and_nothing_is_kept_but_a_header(parts):
    counter = FrameCounter()
    for part in parts:
        assert 0 <= counter.receive_data(part) <= len(part) // 2 + 1
        assert len(counter._header) < 14
