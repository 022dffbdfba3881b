"""The page: whole, self-contained, honest about what did not converge, and safe."""

from __future__ import annotations

import re
from itertools import pairwise

import pandas as pd
import pytest

from nssi_meta.report.claims_text import CLAIM_COLUMNS, GAP_COLUMNS
from nssi_meta.report.page import NOT_CONVERGED, build

HEADINGS = (
    "Key findings",
    "What could not be said",
    "Overlap",
    "The review's claims and model",
    "Which study next",
    "Pooled effects by system",
    "From rows to results",
    "Methods",
    "Diagnostics",
    "Rows left out",
    "To reproduce this page",
)
FORBIDDEN = (
    "self-harmer",
    "self-injurer",
    "cutters",
    "addicts",
    "suffer",
    "committed suicide",
    "anorexics",
    "victims",
    "proves",
    "proven",
    "statistically significant",
    "trend towards",
    " nan",
    "probability 0.00",
    "probability 1.00",
)


def test_each_table_that_a_run_writes_is_linked_and_no_other(tables, facts, figures, read_page):
    given = {**tables, "mechanisms": pd.DataFrame({"mechanism": ["x"], "label": ["X"]})}
    links = read_page(build(given, facts, figures)).values("href")
    linked = {h for h in links if h.startswith("tables/")}
    assert linked == {f"tables/{name}.csv" for name in tables if name != "mechanisms"}


@pytest.fixture
def page(tables, facts, figures, read_page):
    return read_page(build(tables, facts, figures))


def test_tags_are_balanced_and_ids_unique(page):
    assert page.faults == []
    ids = page.values("id")
    assert len(ids) > 20
    assert len(ids) == len(set(ids))


def test_links_and_labels_inside_the_page_lead_somewhere(page):
    ids = set(page.values("id"))
    targets = [h.removeprefix("#") for h in page.values("href") if h.startswith("#")]
    targets += [i for v in page.values("aria-labelledby") for i in v.split()]
    assert len(targets) > 20
    assert set(targets) <= ids


def test_nothing_is_loaded_from_elsewhere(page):
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.tags}
    reached = page.values("href") + page.values("src")
    assert not [x for x in reached if "//" in x or x.startswith("/")]
    assert all(x.startswith(("#", "figures/", "tables/")) for x in reached)


def test_sections_stand_in_the_agreed_order(tables, facts, figures):
    html = build(tables, facts, figures)
    places = [html.index(f">{heading}</h2>") for heading in HEADINGS]
    assert places == sorted(places)


def test_headings_do_not_skip_a_level_and_tables_have_captions(page):
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    count = [tag for tag, _ in page.tags]
    assert count.count("caption") == count.count("table") > 10
    assert count.count("summary") == count.count("details") > 10


def claims_and_gaps():
    """One row of each, with the columns that the page reads."""
    return {
        "claims": pd.DataFrame([dict.fromkeys(CLAIM_COLUMNS, 1.0) | {"verdict": "open"}]),
        "gaps": pd.DataFrame([dict.fromkeys(GAP_COLUMNS, 1.0)]),
    }


def test_a_model_that_did_not_converge_is_marked_on_top_and_in_each_of_its_sections(
    tables, figures, make_manifest_facts, read_page
):
    bad = make_manifest_facts(converged=False, problems=["R-hat 1.23 for mu[7]"])
    tables |= claims_and_gaps()
    html = build(tables, bad, figures)
    assert read_page(html).faults == []
    sections = html.split("<section ")
    assert len(sections) == len(HEADINGS) + 1
    box = 'class="box" role="alert"'
    marked = [i for i, part in enumerate(sections) if box in part]
    assert marked == [0, 3, 4, 5, 9]  # head, overlap, claims, gaps, diagnostics
    assert all(NOT_CONVERGED in sections[i] for i in marked)
    assert sections[0].index(box) < sections[0].index("<nav")
    # overlap and the means of the joint model each have their own box, before anything they say
    assert sections[3].count(box) == 2
    assert sections[3].index(box) < sections[3].index("<h3>")
    assert "R-hat 1.23 for mu[7]" in sections[0]
    # each caption of a table of that model, too: it may be copied alone
    captions = sections[3].count("<caption>")
    assert captions == sections[3].count(f"({NOT_CONVERGED})</caption>") > 3
    for i, least in ((4, 1), (5, 1)):
        captions = sections[i].count("<caption>")
        assert captions == sections[i].count(f"({NOT_CONVERGED})</caption>") >= least


def test_pools_that_were_sampled_are_marked_as_well(tables, figures, make_manifest_facts):
    bad = make_manifest_facts(converged=False)
    tables["pools"]["engine"] = "nuts"
    sections = build(tables, bad, figures).split("<section ")
    marked = [i for i, part in enumerate(sections) if 'class="box"' in part]
    assert marked == [0, 1, 3, 4, 5, 6, 9]
    assert "do not depend on it" not in sections[0]


def test_convergence_that_was_not_recorded_counts_as_none(
    tables, figures, facts, make_manifest_facts
):
    assert 'class="box"' not in build(tables, facts, figures)
    assert "has no record of convergence" in build(
        tables, make_manifest_facts(converged=None), figures
    )
    alone = {"pools": tables["pools"]}
    assert 'class="box"' not in build(alone, make_manifest_facts(converged=None), {})


def test_selective_reporting_is_told_before_the_findings(tables, facts, make_manifest_facts):
    html = build(tables, facts, {})
    notice = html.index("not corrected for")
    assert html.index(">Key findings<") < notice < html.index("differ from")
    k, bounds = tables["pools"]["k"].sum(), tables["pools"]["n_bounds"].sum()
    assert f"{bounds:,} of the {k:,} effects" in html
    rows = tables["rows"]
    one_sided = (rows["upper"] == float("inf")).sum()
    assert f"{one_sided:,} say significant and {bounds - one_sided:,} not" in html
    adjusted = build(tables, make_manifest_facts(bias_model="a step-weight model"), {})
    assert "not corrected for" not in adjusted
    assert "corrected for this by a step-weight model" in adjusted


def test_gaps_are_counted_from_the_tables(page, tables):
    coverage, pools = tables["coverage"], tables["pools"]
    empty = (coverage["k"] == 0).sum()
    assert f"{empty} of {len(coverage)} cells (mechanism by condition) have no effect" in page.text
    only = (pools["n_bounds"] == pools["k"]).sum()
    assert f"In {only} of {len(pools)} pooled cells no study reports a size" in page.text
    assert (
        f"For {pools['n_assumed'].sum()} effects of those in the pools the source says" in page.text
    )
    assert "predicts 2 cells without evidence" in page.text
    assert "(doubtful 2; duplicate 1; overlap 1)" in page.text
    judged = tables["overlap_mechanisms"]
    left = (judged["verdict"] == "uninformative").sum()
    assert f"{left} of {len(judged)} comparisons" in page.text


def test_every_excluded_row_is_listed_with_its_reason(page, tables):
    for row in tables["excluded"].to_dict("records"):
        assert row["effect_id"] in page.text
        assert row["why_not"] in page.text


def test_what_is_needed_to_reproduce_is_there(page, facts):
    for value in (
        facts["data"]["sha256"],
        str(facts["seed"]),
        facts["command"],
        "data/effects.csv",
    ):
        assert value in page.text
    for package, version in facts["versions"].items():
        assert package in page.text
        assert version in page.text


def test_no_forbidden_phrase(page):
    lowered = page.text.casefold()
    assert "not a clinical instrument" in lowered
    for phrase in FORBIDDEN:
        assert phrase.casefold() not in lowered, phrase
    assert not re.search(r"\bNone\b", page.text)


def test_hostile_labels_stay_text(tables, figures, facts, read_page):
    evil = '<script>alert("x")</script>'
    tables["pools"]["label"] = evil
    tables["pools"]["system"] = evil
    tables["overlap_mechanisms"]["label"] = evil
    tables["excluded"]["why_not"] = evil
    facts["command"] = evil
    facts["conditions"][0]["people"] = evil
    figures["forest_<b>"] = figures["overview"]
    html = build(tables, facts, figures)
    page = read_page(html)
    assert page.faults == []
    assert "<script" not in html
    assert evil in page.text
    assert "figures/forest_%3Cb%3E.svg" in page.values("href")


def test_only_forests_with_the_most_rows_are_in_the_page(tables, facts, figures, read_page):
    page = read_page(build(tables, facts, figures, forests=4))
    svgs = [tag for tag, _ in page.tags].count("svg")
    assert svgs == 3 + 4
    links = [h for h in page.values("href") if h.startswith("figures/")]
    forests = {k for k in figures if k.startswith("forest_")}
    assert len(links) == len(forests) - 4
    most = tables["rows"]["mechanism"].value_counts()
    linked = most[[h.removeprefix("figures/forest_").removesuffix(".svg") for h in links]]
    assert linked.max() <= most.iloc[3]


def test_empty_tables_give_a_page_that_says_so(facts, read_page, tables):
    names = [*tables, "unknown"]
    for given in ({}, {name: pd.DataFrame() for name in names}):
        page = read_page(build(given, facts, {}))
        assert page.faults == []
        for words in (
            "There is no pooled effect",
            "No overlap could be computed",
            "The flow of rows was not recorded",
            "No row was left out",
            "No convergence check was recorded",
            "not part of this report",
        ):
            assert words in page.text


def test_an_empty_manifest_gives_a_page_too(tables, read_page):
    page = read_page(build(tables, {}, {}))
    assert page.faults == []
    assert "a date that was not recorded" in page.text
    assert "has no record of convergence" in page.text


def test_no_overlap_evidence_keeps_the_pools(tables, facts, read_page):
    for key in list(tables):
        if key.startswith(("overlap", "correlations", "profiles")):
            tables[key] = tables[key].head(0)
    page = read_page(build(tables, facts, {}))
    assert "No overlap could be computed" in page.text
    assert "differ from healthy controls" in page.text


def test_nothing_is_tied_to_one_review(pool_row, read_page):
    row = pool_row(mechanism="gait", label="Gait speed", condition="falls", condition_label="Falls")
    page = read_page(build({"pools": pd.DataFrame([row])}, {"title": "Falls", "level": 0.9}, {}))
    assert "people with falls differ from the reference group by g = 0.93" in page.text
    assert "injury" not in page.text


def test_the_same_run_gives_the_same_page(tables, facts, figures):
    assert build(tables, facts, figures) == build(tables, facts, figures)
