"""Promise P1 for the control state machines: whatever a peer sends, a session counts it and stays defined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.native import control, messages
from punktfunk.native.client_control import ClientControl
from punktfunk.native.dialect import Dialect
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode
from punktfunk.native.host_control import HostControl, HostState

MODE = WireMode(1280, 720, 60)
WELCOME = Welcome(mode=MODE, udp_port=50000, key=bytes(range(16)))
plausible = st.one_of(
    st.binary(max_size=64),
    st.binary(max_size=40).map(lambda body: frame(b"PKF1" + body)),
    st.tuples(st.integers(0, 255), st.binary(max_size=40)).map(
        lambda m: frame(b"PKFc" + bytes([m[0]]) + m[1])
    ),
    st.sampled_from(
        [
            frame(Hello(mode=MODE).encode()),
            frame(Start(1).encode()),
            frame(WELCOME.encode()),
            frame(messages.ClockEcho(1, 2, 3).encode()),
            frame(messages.Reconfigure(2, 2, 1).encode()),
        ]
    ),
)
steps = st.lists(st.tuples(st.integers(0, 3 * control.S), plausible), max_size=20)


def _drain(machine: HostControl | ClientControl) -> list[control.Output]:
    outputs = []
    while (output := machine.poll()) is not None:
        outputs.append(output)
    return outputs


@given(st.sampled_from(list(Dialect)), steps)
def test_a_host_survives_arbitrary_control_streams(
    dialect: Dialect, conversation: list[tuple[int, bytes]]
) -> None:
    now = 0
    host = HostControl(dialect, now_ns=now, realtime_offset_ns=0)
    closes = 0
    for wait, data in conversation:
        now += wait
        host.receive(data, now)
        for output in _drain(host):
            if isinstance(output, control.HelloReceived):
                host.accept(WELCOME)
            closes += isinstance(output, control.CloseConnection)
        host.handle_timeout(now)
        closes += sum(isinstance(output, control.CloseConnection) for output in _drain(host))
        due = host.next_timeout()
        assert due is None or due > now
    assert closes == (host.state is HostState.CLOSED)


@given(st.sampled_from(list(Dialect)), steps)
def test_a_client_survives_arbitrary_control_streams(
    dialect: Dialect, conversation: list[tuple[int, bytes]]
) -> None:
    now = 0
    client = ClientControl(dialect, Hello(mode=MODE), now_ns=now, realtime_offset_ns=0)
    closes = 0
    for wait, data in conversation:
        now += wait
        client.receive(data, now)
        client.start(1, now)
        client.request_keyframe(now)
        client.handle_timeout(now)
        closes += sum(isinstance(output, control.CloseConnection) for output in _drain(client))
        due = client.next_timeout()
        assert due is None or due > now
    assert closes == (client.error is not None)
