"""Which connection an invocation gets, and which are closed."""

from __future__ import annotations

from typing import Any

from fdstream.client.pool import Pool


class Visitor:
    def __init__(self, client: str) -> None:
        self.client = client
        self.closed = False

    def close(self) -> None:
        self.closed = True


def pool_of(*clients: str, most: int = 10) -> tuple[Any, list[Visitor]]:
    pool, visitors = Pool(most), [Visitor(client) for client in clients]
    for visitor in visitors:
        pool.give("here", visitor)  # type: ignore[arg-type]
    return pool, visitors


def test_a_client_gets_the_one_that_served_it_or_else_the_last() -> None:
    pool, (ada, bob, cyd) = pool_of("ada", "bob", "cyd")
    assert pool.take("here", "bob") is bob
    assert pool.take("here", "eve") is cyd
    assert pool.take("here", "bob") is ada
    assert pool.take("here", "bob") is None


def test_another_place_has_connections_of_its_own() -> None:
    pool, _ = pool_of("ada")
    assert pool.take("there", "ada") is None


def test_where_too_many_rest_the_oldest_is_closed() -> None:
    _, visitors = pool_of("ada", "bob", "cyd", most=2)
    assert [visitor.closed for visitor in visitors] == [True, False, False]
