"""Whatever is sent, in whatever order, alone or together: one key of one user is one event, and its first one."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import pytest
from api_process import EVENT, bearer, make_process, post, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_ledger import NO_RETRIES, assert_balanced, claim, ended, finish
from sqlalchemy import select

from tem_sim.live.api.taking_in import stored_key
from tem_sim.pipeline.store import own_schema
from tem_sim.pipeline.tables import event_table

pytestmark = pytest.mark.server

USERS, KEYS, PAYLOADS = (7, 8), ("a", "b", "7:a"), (1, True, {"n": 1})
EVENTS = st.tuples(st.sampled_from(KEYS), st.sampled_from(PAYLOADS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from(USERS), EVENTS),
        st.tuples(st.just("batch"), st.sampled_from(USERS), st.lists(EVENTS, max_size=5)),
        st.tuples(st.just("replay"), st.sampled_from(USERS), st.sampled_from(KEYS)),
        st.tuples(st.just("fail"), st.none(), st.none()),
    ),
    min_size=1,
    max_size=12,
)
STORIES = count(1)
SEVERAL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Story:
    """Sends what it is told, under keys of its own, and holds each answer against what came before."""

    def __init__(self, client, store):
        self.client = client
        self.store = store
        self.number = next(STORIES)
        self.first = {}
        self.extinct = set()

    def key(self, key):
        return f"{self.number}-{key}"

    def tell(self, step):
        what, user, about = step
        getattr(self, what)(user, about)

    def submit(self, user, event):
        key, payload = event
        answer = post(self.client, self.key(key), {**EVENT, "payload": payload}, headers=bearer(user))
        told = answer.json()
        self.check(user, event, answer.status_code, told.get("event_id"))

    def batch(self, user, events):
        body = [{"idempotency_key": self.key(key), **EVENT, "payload": payload} for key, payload in events]
        answer = self.client.post("/events/batch", json={"events": body}, headers=bearer(user))
        for event, told in zip(events, answer.json()["events"], strict=True):
            self.check(user, event, told["status"], told["event_id"])

    def check(self, user, event, status, event_id):
        key, payload = event
        said = json.dumps(payload)
        if (user, key) not in self.first:
            assert status == 201
            self.first[user, key] = event_id, said
        elif self.first[user, key][1] == said:
            assert (status, event_id) == (200, self.first[user, key][0])
        else:
            assert (status, event_id) == (409, None)

    def fail(self, _user, _about):
        now = time.time()
        claimed = claim(self.store, now=now)
        finish(self.store, [ended(one, "boom", at=now) for one in claimed], now=now, settings=NO_RETRIES)
        self.extinct |= {one.event_id for one in claimed}

    def replay(self, user, key):
        for owner in USERS:
            if (owner, key) in self.first:
                event_id = self.first[owner, key][0]
                answer = self.client.post(f"/events/{event_id}/replay", headers=bearer(user))
                mine = 200 if event_id in self.extinct else 409
                assert answer.status_code == (mine if owner == user else 404)
                if answer.status_code == 200:
                    self.extinct.discard(event_id)

    def kept(self):
        """Return the events of this story in the store: by key, how many, and with what id and payload."""
        keys = [stored_key(user, self.key(key)) for user in USERS for key in KEYS]
        wanted = select(event_table).where(event_table.c.idempotency_key.in_(keys))
        with self.store.begin() as connection:
            return connection.execute(wanted).mappings().all()


@pytest.fixture(scope="module", params=["file", pytest.param("postgresql", marks=pytest.mark.server)])
def told(request, tmp_path_factory, api_redis):
    """Serve one API on each kind of store for all stories; yield its client and its store."""
    folder = tmp_path_factory.mktemp("history")
    with ExitStack() as until_then:
        url = f"sqlite:///{folder}/store.db"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            own = until_then.enter_context(own_schema(server.url))
            url = own.render_as_string(hide_password=False)
        process = make_process(folder, url, api_redis.url)
        yield until_then.enter_context(serving(process)), process.store


@SEVERAL
@given(steps=STEPS)
def test_one_key_is_one_event_in_any_order(told, steps):
    story = Story(*told)
    for step in steps:
        story.tell(step)
    kept = {one["id"]: json.dumps(one["payload"]) for one in story.kept()}
    assert kept == dict(story.first.values())
    assert_balanced(story.store, NO_RETRIES)


@SEVERAL
@given(batches=st.lists(st.tuples(st.sampled_from(USERS), st.lists(EVENTS, min_size=1, max_size=5)), max_size=6))
def test_one_key_is_one_event_when_all_come_at_once(told, batches):
    story = Story(*told)

    def send(batch):
        user, events = batch
        body = [{"idempotency_key": story.key(key), **EVENT, "payload": payload} for key, payload in events]
        answer = story.client.post("/events/batch", json={"events": body}, headers=bearer(user))
        return [(user, event, told) for event, told in zip(events, answer.json()["events"], strict=True)]

    with ThreadPoolExecutor(6) as pool:
        answered = [one for answers in pool.map(send, batches) for one in answers]
    created = Counter((user, key) for user, (key, _), answer in answered if answer["status"] == 201)
    assert created == Counter({(user, key): 1 for user, (key, _), _ in answered})
    kept = {(one["user_id"], one["idempotency_key"]): (one["id"], one["payload"]) for one in story.kept()}
    assert len(kept) == len(story.kept()) == len(created)
    for user, (key, payload), answer in answered:
        event_id, first = kept[user, stored_key(user, story.key(key))]
        if json.dumps(payload) == json.dumps(first):
            assert (answer["status"] in (200, 201), answer["event_id"]) == (True, event_id)
        else:
            assert (answer["status"], answer["event_id"]) == (409, None)
