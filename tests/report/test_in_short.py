"""The answers of a run in a few sentences."""

from __future__ import annotations

from nssi_meta.report.in_short import in_short
from nssi_meta.report.names import read_names
from nssi_meta.report.values import whole


def test_each_question_has_its_sentence_and_its_section(tables, facts):
    said = in_short(tables, read_names(tables, facts), joint=True)
    assert [section for _, section, _ in said] == ["pools", "overlap"]
    overlap = said[1][2]
    summary = tables["overlap_summary"].query("figure == 'n_shared'")
    for row in summary.to_dict("records"):
        assert f"{whole(row['median'])} of {row['n_mechanisms']} mechanisms" in overlap
    shared = tables["overlap_mechanisms"].query("verdict == 'shared'")
    most = shared["label"].value_counts()
    assert f"({most.iloc[0]})" in overlap


def test_a_joint_model_that_may_not_be_quoted_is_not(tables, facts):
    said = in_short(tables, read_names(tables, facts), joint=False)
    assert [section for _, section, _ in said] == ["pools"]
    assert in_short({}, read_names(tables, facts), joint=True) == []


def test_no_mechanism_called_shared_is_said(tables, facts):
    judged = tables["overlap_mechanisms"].assign(verdict="undecided")
    said = in_short(tables | {"overlap_mechanisms": judged}, read_names(tables, facts), joint=True)
    assert "No single mechanism is called shared" in said[1][2]
