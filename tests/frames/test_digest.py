"""The digest is a fingerprint of the transition log and of nothing else."""

import hashlib

from frame_builder import story, tamper

from tem_sim.frames import conform, digest, empty


def one_run():
    told = story()
    told.event(2).claim(1.0).error(1.1, 10.0).retry(11.2)
    told.event(1).claim(1.5).ok(1.6)
    return told.run()


def test_the_digest_is_the_sha256_of_one_line_per_transition_by_event_and_order():
    lines = (
        "1|0||QUEUED|submit|api|0\n"
        "1|1500000|QUEUED|PROCESSING|claim|worker-1|1\n"
        "1|1600000|PROCESSING|PROCESSED|ok|worker-1|1\n"
        "2|0||QUEUED|submit|api|0\n"
        "2|1000000|QUEUED|PROCESSING|claim|worker-1|1\n"
        "2|1100000|PROCESSING|FAILED|error|worker-1|1\n"
        "2|11200000|FAILED|QUEUED|retry|beat|1\n"
    )
    assert digest(one_run().transitions) == hashlib.sha256(lines.encode()).hexdigest()


def test_row_order_and_gaps_in_seq_do_not_matter():
    log = one_run().transitions
    shuffled = log.iloc[::-1].assign(seq=log["seq"].iloc[::-1] * 10)
    assert digest(conform("transitions", shuffled)) == digest(log)


def test_order_within_an_event_matters():
    log = one_run().transitions
    assert digest(log.assign(seq=-log["seq"])) != digest(log)


def test_a_microsecond_matters_and_less_does_not():
    run = one_run()
    at_s = run.transitions.loc[0, "at_s"]
    assert digest(tamper(run, "transitions", 0, at_s=at_s + 1e-6).transitions) != digest(run.transitions)
    assert digest(tamper(run, "transitions", 0, at_s=at_s + 1e-9).transitions) == digest(run.transitions)


def test_who_did_it_matters():
    run = one_run()
    assert digest(tamper(run, "transitions", 0, actor="api-2").transitions) != digest(run.transitions)


def test_an_empty_log_has_a_digest():
    assert digest(empty("transitions")) == hashlib.sha256(b"").hexdigest()


def test_a_log_longer_than_one_chunk_hashes_as_one():
    from synthetic_storm import storm

    log = storm(events=7000, retries=5).transitions
    assert len(log) > 100_000
    words = zip(*(log[name].astype(str) for name in ("before", "after", "cause", "actor")), strict=True)
    numbers = zip(log["event_id"], log["seq"], (log["at_s"] * 1e6).round().astype(int), log["attempt_no"], strict=True)
    rows = sorted((e, seq, t, *w, n) for (e, seq, t, n), w in zip(numbers, words, strict=True))
    text = "".join("|".join(str(cell) for cell in (row[0], *row[2:])) + "\n" for row in rows)
    assert digest(log) == hashlib.sha256(text.encode()).hexdigest()
