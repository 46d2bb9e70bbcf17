"""The table of legal edges, of which the store's CHECK is made."""

from tem_sim.pipeline.states import CAUSES, LEGAL_EDGES, TERMINAL, Cause, State


def test_from_a_terminal_state_only_an_extinct_event_can_leave_and_only_by_replay():
    ways_out = {(edge, cause) for edge, causes in CAUSES.items() if edge[0] in TERMINAL for cause in causes}
    assert ways_out == {((State.EXTINCT, State.QUEUED), Cause.REPLAY)}


def test_each_cause_moves_an_event_along_one_edge_only():
    assert sorted(cause for causes in CAUSES.values() for cause in causes) == sorted(Cause)


def test_every_state_can_be_reached_and_only_the_terminal_ones_stay_without_an_operator():
    assert {after for _, after in LEGAL_EDGES} == set(State)
    assert {before for before, _ in LEGAL_EDGES} == {None, *State} - {State.PROCESSED}
