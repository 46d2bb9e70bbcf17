"""Open sockets, as the kernel sees them."""

import resource
import socket

from tem_sim.live.descriptors import allow_files, has_news


def test_there_is_news_once_the_other_end_has_said_something_or_is_gone() -> None:
    one, other = socket.socketpair()
    with one:
        assert not has_news(one.fileno())
        other.send(b"!")
        assert has_news(one.fileno())
        one.recv(1)
        assert not has_news(one.fileno())
        other.close()
        assert has_news(one.fileno())


def test_the_limit_of_files_is_raised_as_far_as_it_may_be_and_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = 64, before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        allow_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, hard)
        allow_files(50)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
