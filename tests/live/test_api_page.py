"""The users' page as it is served: its own files, and a policy that lets it talk to API and gateway alone."""

import pytest
from api_process import bearer

from tem_sim.live.api.around import MEDIA_TYPES, PAGE

pytestmark = pytest.mark.server
FILES = sorted(file.name for file in PAGE.iterdir() if file.suffix in MEDIA_TYPES)


def test_each_file_of_the_page_is_served_as_what_it_is(file_api):
    assert "index.html" in FILES
    for name in FILES:
        answer = file_api.get("/" if name == "index.html" else f"/{name}")
        assert (answer.status_code, answer.text) == (200, (PAGE / name).read_text(encoding="utf-8"))
        assert answer.headers["content-type"] == MEDIA_TYPES[(PAGE / name).suffix]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_may_run_its_own_scripts_and_reach_the_gateway_and_nothing_else(file_api, file_process):
    answer = file_api.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["connect-src"] == f"'self' {file_process.config.gateway_url}"
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert file_api.get("/config.json").json() == {"gateway_url": file_process.config.gateway_url}


@pytest.mark.parametrize(
    "path", ["/index.html", "/../tokens.py", "/..%2ftokens.py", "/%2e%2e/live.json", "/page", "/__pycache__", "/docs"]
)
def test_no_other_file_is_served(file_api, path):
    assert file_api.get(path).status_code == 404


def test_what_is_not_there_and_what_cannot_be_done_is_a_problem_too(file_api):
    answers = file_api.get("/nothing"), file_api.post("/nothing"), file_api.delete("/events", headers=bearer())
    assert [answer.status_code for answer in answers] == [404, 404, 405]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert set(answers[2].headers["allow"].split(", ")) <= {"GET", "POST"}
