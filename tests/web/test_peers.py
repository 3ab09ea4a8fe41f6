"""Whether the client of a connection is still there, known at once and told at once."""

import socket
import struct

import pytest

from intermute.web.peers import Peer


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_a_client_that_is_there_is_there(ends):
    near, far = ends
    peer, told = Peer(near.fileno), []
    with peer.watched(lambda: told.append(1)):
        assert not peer.has_left()
        far.send(b"more")
        assert not peer.has_left(), "what it sends is no end"
    peer.leave()
    assert told == []


def test_a_client_that_has_closed_has_left(ends):
    near, far = ends
    peer = Peer(near.fileno)
    far.send(b"unread")
    far.close()
    assert peer.has_left()
    near.close()
    assert peer.has_left(), "it does not come back"


def test_a_client_that_sends_no_more_has_left(ends):
    near, far = ends
    far.shutdown(socket.SHUT_WR)
    assert Peer(near.fileno).has_left()


def test_a_reset_is_an_end():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
        with near:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            assert Peer(near.fileno).has_left()


def test_everybody_who_watches_is_told_once(ends):
    near, _ = ends
    peer, told = Peer(near.fileno), []
    with peer.watched(lambda: told.append("a")), peer.watched(lambda: told.append("b")):
        peer.leave()
        assert told == ["a", "b"]
    with peer.watched(lambda: told.append("late")):
        assert told == ["a", "b", "late"]
