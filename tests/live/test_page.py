"""The users' page in Debian's Chromium, on a live system: what a user sees, whatever happens to the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from live_systems import eventually, need_redis_server, small_system
from report.browser import launched

from tem_sim.live.system import System
from tem_sim.live.tokens import issue

pytestmark = pytest.mark.server

PATIENCE_MS = 30_000
# Users of their own for each test, which share one system.
_users = iter(range(1, 1000))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    need_redis_server(tmp_path_factory.mktemp("probe"))
    handler = {"service_time": {"kind": "constant", "value": "20ms"}, "failure_rate": 0}
    with small_system(tmp_path_factory.mktemp("system"), handler=handler) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


class Tab:
    """A user with a tab of the browser and a way to the API of its own."""

    def __init__(self, browser: Any, system: System, **context: Any) -> None:
        self.user_id = next(_users)
        self.system = system
        self.url = system.config.api_url
        self.token = issue(system.config.secret, user_id=self.user_id)
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        # Whatever the policy of the page forbids is said on the console.
        self.page.on("console", lambda said: self.broken.append(said.text) if "Policy" in said.text else None)
        self.page.on("dialog", lambda dialog: (self.broken.append(dialog.message), dialog.dismiss()))

    def open(self, token: str | None = None) -> None:
        self.page.goto(f"{self.url}/#token={token or self.token}")

    def wait_for(self, state: str) -> None:
        self.page.wait_for_selector(f"#connection[data-state={state}]")

    def of_session(self, act: str) -> None:
        """Do something to the page's connection that no user can."""
        self.page.evaluate(f'async () => {{ const {{ session }} = await import("/connection.js"); {act} }}')

    def submit(self, *names: str, kind: str = "normal", payload: Any = None) -> list[int]:
        """Submit events as a program of this user would; return their ids."""
        ids = []
        for name in names:
            headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": f"{self.user_id}-{name}"}
            body = {"kind": kind, "payload": payload or {}}
            answer = httpx.post(f"{self.url}/events", json=body, headers=headers, timeout=30)
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["event_id"])
        return ids

    def shown(self) -> list[int]:
        """Return the event ids on the page, the newest first."""
        return [int(text.split()[1]) for text in self.page.locator("#list summary > span").all_inner_texts()]

    def wait_until_shown(self, ids: list[int]) -> None:
        self.page.locator("#list li").nth(len(ids) - 1).wait_for()
        assert sorted(self.shown()) == sorted(ids)

    def is_acknowledged(self, event_id: int) -> bool:
        headers = {"Authorization": f"Bearer {self.token}"}
        told = httpx.get(f"{self.url}/events/{event_id}", headers=headers, timeout=30).json()
        return bool(told["notification"]["acked_at"])


@pytest.fixture
def tab(browser: Any, system: System, request: pytest.FixtureRequest) -> Iterator[Tab]:
    made = Tab(browser, system, **getattr(request, "param", {}))
    yield made
    made.context.close()
    assert made.broken == []


def test_an_event_submitted_by_the_api_is_shown_and_acknowledged(tab: Tab) -> None:
    tab.open()
    tab.wait_for("connected")
    assert tab.page.locator("#empty").is_visible()
    # The token is gone from the address.
    assert tab.page.url == f"{tab.url}/"
    first, second = tab.submit("a", "b")
    tab.wait_until_shown([first, second])
    assert tab.page.locator("#count").inner_text() == "2 notifications"
    assert not tab.page.locator("#empty").is_visible()
    assert eventually(lambda: tab.is_acknowledged(first) and tab.is_acknowledged(second))


def test_what_arrived_while_nobody_looked_is_shown_and_another_user_sees_nothing_of_it(
    tab: Tab, browser: Any, system: System
) -> None:
    ids = tab.submit("a", "b", "c")
    stranger = Tab(browser, system)
    stranger.open()
    stranger.wait_for("connected")
    tab.open()
    tab.wait_until_shown(ids)
    assert stranger.shown() == []
    stranger.context.close()


def test_a_gateway_that_is_killed_and_comes_again_costs_nothing_and_shows_nothing_twice(tab: Tab) -> None:
    # However long the gateway takes to start, the page waits for 3 s at most between two tries.
    tab.page.add_init_script("Math.random = () => 0.1")
    tab.open()
    tab.wait_for("connected")
    ids = tab.submit("a", "b", "c")
    tab.wait_until_shown(ids)
    for round_no in range(2):
        tab.system.kill("gateway")
        # It says so between its tries: each of the two may be looked for during one.
        tab.page.locator("#why", has_text=re.compile(r"^The gateway cannot be reached\.$")).wait_for()
        tab.page.locator("#countdown", has_text=re.compile(r"^in \d+ s$")).wait_for()
        ids += tab.submit(f"away-{round_no}")
        tab.system.start_node("gateway")
        tab.system.wait_for(["gateway"])
        ids += tab.submit(f"back-{round_no}")
        tab.wait_for("connected")
        tab.wait_until_shown(ids)
    assert eventually(lambda: all(map(tab.is_acknowledged, ids)))
    # Nothing more comes of it, and a reload knows what was shown.
    tab.page.reload()
    tab.wait_for("connected")
    tab.wait_until_shown(ids)
    assert tab.page.locator("#count").inner_text() == f"{len(ids)} notifications"


def test_what_is_sent_again_after_a_reload_is_not_shown_again(tab: Tab) -> None:
    """Its acknowledgement was lost: the page knows it by its key."""
    sends = "WebSocket.prototype.send"
    tab.page.add_init_script(
        f"const send = {sends}; {sends} = function (text) {{ if (!text.includes('\"ack\"')) send.call(this, text); }}"
    )
    tab.open()
    tab.wait_for("connected")
    ids = tab.submit("a", "b")
    tab.wait_until_shown(ids)
    tab.page.reload()
    tab.wait_for("connected")
    more = tab.submit("c")
    tab.wait_until_shown([*ids, *more])
    assert not tab.is_acknowledged(ids[0])
    assert tab.page.locator("#count").inner_text() == "3 notifications"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"valid_s": -100.0}, "The token is no longer valid."),
        ({"secret": "x" * 64}, "Not a token of this system."),
        ({"user_id": None, "operator": True}, "An operator's token names no user, whom notifications are for."),
    ],
)
def test_a_token_that_proves_nothing_is_refused_with_the_reason_and_another_can_be_given(
    tab: Tab, how: dict[str, Any], why: str
) -> None:
    secret = how.pop("secret", tab.system.config.secret)
    tab.open(issue(secret, **{"user_id": tab.user_id, **how}))
    tab.wait_for("refused")
    assert tab.page.locator("#why").inner_text() == why
    assert not tab.page.locator("#submit").is_visible()
    # It does not try again with what was refused.
    tab.page.wait_for_timeout(1500)
    tab.wait_for("refused")
    tab.page.get_by_label("Token").fill(tab.token)
    tab.page.get_by_role("button", name="Connect").click()
    tab.wait_for("connected")


def test_without_a_token_it_asks_for_one_and_forgets_it_when_told_to(tab: Tab) -> None:
    tab.page.goto(tab.url)
    tab.wait_for("idle")
    tab.page.get_by_label("Token").fill(f" {tab.token}\n")
    tab.page.keyboard.press("Enter")
    tab.wait_for("connected")
    tab.wait_until_shown(tab.submit("a"))
    tab.page.get_by_role("button", name="Use another token").click()
    tab.wait_for("idle")
    assert tab.shown() == []
    tab.page.reload()
    tab.wait_for("idle")
    assert not tab.page.locator("#inbox").is_visible()


def test_a_test_event_can_be_sent_from_the_page(tab: Tab) -> None:
    tab.open()
    tab.wait_for("connected")
    tab.page.get_by_label("Payload").fill("{oops")
    tab.page.get_by_role("button", name="Send").click()
    tab.page.wait_for_selector("#sent.bad")
    assert "not JSON" in tab.page.locator("#sent").inner_text()
    tab.page.get_by_label("Payload").fill('{"order": 1}')
    tab.page.get_by_role("button", name="Send").click()
    tab.page.wait_for_selector("#sent:not(.bad)")
    event_id = int(re.findall(r"\d+", tab.page.locator("#sent").inner_text())[0])
    tab.wait_until_shown([event_id])


def test_what_others_write_into_an_event_is_text_and_nothing_else(tab: Tab) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    tab.open()
    tab.wait_for("connected")
    tab.wait_until_shown(tab.submit("a", kind=evil, payload={evil: [evil]}))
    tab.page.locator("#list summary").click()
    tab.page.wait_for_selector(".story table")
    assert evil in tab.page.locator(".story").inner_text()
    assert json.dumps(evil) in tab.page.locator(".story pre").inner_text()
    assert tab.page.locator("#list img, #list script").count() == 0


def test_when_the_network_is_back_it_connects_at_once(tab: Tab) -> None:
    tab.open()
    tab.wait_for("connected")
    with tab.system.held_down("gateway"):
        tab.wait_for("waiting")
        # The waits have become long by now, longer than anything here may take.
        tab.of_session("Math.random = () => 1000; session.tries = 6; session.connect()")
        tab.page.locator("#countdown", has_text=re.compile(r"\d{4}")).wait_for()
    tab.system.wait_for(["gateway"])
    assert tab.page.locator("#connection").get_attribute("data-state") == "waiting"
    tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    tab.wait_for("connected")


def test_a_gateway_that_is_frozen_is_noticed_by_its_silence(tab: Tab) -> None:
    tab.page.add_init_script("Math.random = () => 0.999")
    tab.open()
    tab.wait_for("connected")
    tab.system.pause("gateway")
    try:
        # Silence is 2 s from now, and it waits so long afterwards that it can be seen.
        tab.of_session("session.heartbeat = 0.4; session.tries = 4; session.since = 0; session.listen()")
        tab.page.locator("#why", has_text="The gateway has fallen silent.").wait_for()
        (event_id,) = tab.submit("a")
    finally:
        tab.system.resume("gateway")
    tab.wait_until_shown([event_id])


@pytest.mark.parametrize(
    "tab",
    [
        {"viewport": {"width": 320, "height": 640}, "color_scheme": scheme, "has_touch": True}
        for scheme in ("light", "dark")
    ],
    indirect=True,
)
def test_it_fits_a_phone(tab: Tab) -> None:
    tab.open()
    tab.wait_for("connected")
    tab.wait_until_shown(tab.submit("a", kind="k" * 100, payload={"long": "x" * 500}))
    tab.page.locator("#list summary").click()
    tab.page.wait_for_selector(".story table")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    buttons = tab.page.locator("button:visible").all()
    assert all(button.bounding_box()["height"] >= 40 for button in buttons)


def test_the_news_is_said_to_those_who_do_not_see_it(tab: Tab) -> None:
    tab.open()
    tab.wait_for("connected")
    tab.wait_until_shown(tab.submit("a"))
    said = {element.inner_text() for element in tab.page.get_by_role("status").all()}
    assert {"Connected", "1 new notification"} <= said
    assert tab.page.locator("input:not([type=hidden])").count() == tab.page.locator("label").count()
