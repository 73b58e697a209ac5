"""The gate's decision over a table of cases; test_gate_cases.py has the same table against real servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atelier.registry.gate import comparable, decide
from tests.support.gate_cases import CASES, GATE, Case, contender, numbers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases(case: Case) -> None:
    champion = contender(1, case.champion) if case.champion is not None else None
    decision = decide(contender(2, case.candidate), champion, GATE)
    assert decision.outcome == case.outcome, decision.reason
    assert case.says in decision.reason
    failed = [check for check in decision.checks if not check.passed]
    assert bool(failed) == (case.outcome == "refused")
    assert all(check.found in decision.reason for check in failed)


def test_a_champion_is_not_compared_with_itself() -> None:
    one = contender(1, numbers(20))
    assert decide(one, one, GATE).outcome == "kept"
    again = decide(replace(one, version=2), one, GATE)
    assert again.outcome == "refused" and "its weights are those of champion version 1" in again.reason


def test_what_was_rolled_back_does_not_return_by_itself() -> None:
    gone = replace(contender(2, numbers(10)), withdrawn="generates nothing but eights")
    decision = decide(gone, contender(1, numbers(20)), GATE)
    assert decision.outcome == "refused" and "rolled back before (generates nothing but eights)" in decision.reason


def test_limits_that_ask_for_nothing_need_no_number() -> None:
    open_gate = GATE.model_copy(update={"min_coverage": 0.0, "min_recall": 0.0, "min_class_share": 0.0, "max_memorised": 1.0})
    alone = [one for one in numbers(15) if one.name.startswith("frechet")]
    assert decide(contender(2, alone), contender(1, numbers(20)), open_gate).outcome == "promoted"


def test_the_limits_themselves_pass() -> None:
    at = numbers(15, coverage=0.3, recall=0.1, class_share_min=0.02, memorised=0.2)
    assert decide(contender(2, at), None, GATE).outcome == "promoted"


def test_which_numbers_compare() -> None:
    mine = contender(2, numbers(15))
    assert comparable(mine, contender(1, numbers(20)), GATE)
    assert not comparable(mine, contender(1, numbers(20, reference="q")), GATE)
    assert not comparable(mine, contender(1, []), GATE)


def test_the_kernel_distance_can_decide() -> None:
    kernel = GATE.model_copy(update={"primary": "kernel"})
    by_kernel = [
        replace(one, identity=replace(one.identity, metric="kid", kind="")) for one in numbers(0.02, 0.001)[:1]
    ] + numbers(90)
    better = [replace(by_kernel[0], value=0.01), *numbers(99)]
    assert (
        decide(contender(2, better), contender(1, by_kernel), kernel.model_copy(update={"min_delta": 0.0})).outcome == "promoted"
    )
    missing = decide(contender(2, numbers(15)), contender(1, by_kernel), kernel)
    assert "kernel was not measured" in missing.reason
