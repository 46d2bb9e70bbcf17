"""Tokens: what was issued is read back, and nothing else is a token."""

import base64
import json
import time

import jwt
import pytest

from tem_sim.live import tokens
from tem_sim.live.tokens import ALGORITHM, AUDIENCE, MAX_USER_ID, BadToken, Holder, holder, issue

SECRET = "s" * 40


def signed(secret=SECRET, algorithm=ALGORITHM, **changes):
    claims = {"aud": AUDIENCE, "exp": time.time() + 60, "sub": "7", "op": False, **changes}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, algorithm)


def part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("who", [Holder(1), Holder(MAX_USER_ID), Holder(7, operator=True), Holder(None, operator=True)])
def test_a_token_says_who_holds_it(who):
    assert holder(SECRET, issue(SECRET, user_id=who.user_id, operator=who.operator)) == who


@pytest.mark.parametrize("user_id", [None, 0, -1, MAX_USER_ID + 1])
def test_a_token_for_nobody_is_not_issued(user_id):
    with pytest.raises(ValueError, match="user"):
        issue(SECRET, user_id=user_id)


def test_a_token_that_is_over_is_refused_and_one_that_is_just_over_is_not(monkeypatch):
    # So much that a pause between issuing and reading is nothing to it.
    monkeypatch.setattr(tokens, "LEEWAY_S", 600.0)
    assert holder(SECRET, issue(SECRET, user_id=7, valid_s=-300.0)) == Holder(7)
    with pytest.raises(BadToken, match="no longer valid"):
        holder(SECRET, issue(SECRET, user_id=7, valid_s=-602.0))


def test_a_token_without_a_signature_is_refused_whatever_it_says():
    claims = {"aud": AUDIENCE, "exp": time.time() + 60, "sub": "7", "op": True}
    for algorithm in ("none", "None", "HS256"):
        with pytest.raises(BadToken):
            holder(SECRET, f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.")


# Made when they are looked at: what is collected may wait for longer than a token is valid.
REFUSED = {
    "another secret": (lambda: signed(secret="t" * 40), "not a token"),
    "HS512": (lambda: signed(secret="s" * 64, algorithm="HS512"), "not a token"),
    "HS384 of the secret": (lambda: signed(secret=SECRET + "s" * 24, algorithm="HS384"), "not a token"),
    "another audience": (lambda: signed(aud="something-else"), "something else"),
    "no audience": (lambda: signed(aud=None), "not a token"),
    "no end": (lambda: signed(exp=None), "not a token"),
    "not yet": (lambda: signed(nbf=time.time() + 60), "not a token"),
    "no user": (lambda: signed(sub=None), "neither"),
    "user 0": (lambda: signed(sub="0"), "neither"),
    "user -7": (lambda: signed(sub="-7"), "neither"),
    "other digits": (lambda: signed(sub="\N{ARABIC-INDIC DIGIT SEVEN}"), "neither"),
    "too large a user": (lambda: signed(sub=str(MAX_USER_ID + 1)), "neither"),
    "a name and operator": (lambda: signed(sub="me", op=True), "neither"),
    "operator yes": (lambda: signed(op="yes"), "neither"),
    "operator 1": (lambda: signed(op=1), "neither"),
    "operator null": (lambda: signed(op=None), "neither"),
    "empty": (lambda: "", "not a token"),
    "two parts": (lambda: "a.b", "not a token"),
    "three letters": (lambda: "a.b.c", "not a token"),
    "snow": (lambda: "\N{SNOWMAN}" * 3, "not a token"),
    "too long": (lambda: "x" * 5000, "at most"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_was_not_issued_here_is_refused_with_the_reason(make, reason):
    with pytest.raises(BadToken, match=reason):
        holder(SECRET, make())


def test_a_token_with_any_part_of_another_is_refused():
    mine, other = issue(SECRET, user_id=7).split("."), issue(SECRET, user_id=8, operator=True).split(".")
    for at in (1, 2):
        with pytest.raises(BadToken):
            holder(SECRET, ".".join(other[i] if i == at else mine[i] for i in range(3)))


def test_an_operator_sees_all_and_a_user_what_is_his():
    assert Holder(None, operator=True).may_see(7)
    assert Holder(7).may_see(7)
    assert not Holder(7).may_see(8)
