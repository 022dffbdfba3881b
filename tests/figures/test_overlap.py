"""Overlap figures: bars and intervals equal their tables."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nssi_meta.figures import (
    SINGLE,
    alt_overlap_mechanisms,
    alt_overlap_summary,
    overlap_mechanisms,
    overlap_pages,
    overlap_parts,
    overlap_summary,
)
from nssi_meta.figures.overlap import BAR, THIN
from nssi_meta.figures.style import CLASS_FILLS


def test_bars_equal_the_table(overlaps, artists, xs):
    bars, _ = overlaps
    drawn = artists(overlap_mechanisms(bars))
    shown = bars[(bars["k_index"] > 0) & (bars["k_other"] > 0)]
    assert len(shown) < len(bars)
    for r in shown.to_dict("records"):
        left = 0.0
        for column in CLASS_FILLS:
            box = xs(drawn[f"{column}:{r['mechanism']}/{r['other']}"])
            # the box holds left + width: one rounding of a double each
            assert min(box) == pytest.approx(left, abs=1e-12)
            left += r[column]
            assert max(box) == pytest.approx(left, abs=1e-12)
    assert len([g for g in drawn if g.startswith("p_")]) == 5 * len(shown)


def test_every_class_has_its_own_grey():
    def grey(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return (0.299 * red + 0.587 * green + 0.114 * blue) / 255

    plain = sorted(grey(fill) for fill, hatch, _ in CLASS_FILLS.values() if not hatch)
    steps = [b - a for a, b in pairwise(plain)]
    assert min(steps) > 0.1
    for fill, _, ink in CLASS_FILLS.values():
        assert abs(grey(fill) - grey(ink)) > 0.4  # the number on a bar can be read


@pytest.mark.parametrize("single", [False, True])
def test_bars_do_not_collide(overlaps, collisions, single):
    bars, _ = overlaps
    pages = overlap_pages(bars, style=SINGLE) if single else overlap_pages(bars, delta=0.2)
    assert len(pages) == (4 if single else 1)  # one condition a page fits on a single column
    assert all(collisions(page) == [] for page in pages)


def test_verdicts_and_counts_are_written(overlaps):
    bars, _ = overlaps
    fig = overlap_mechanisms(bars, index_label="self-injury", delta=0.3)
    words = [t.get_text() for t in fig.axes[0].texts]
    shown = bars[(bars["k_index"] > 0) & (bars["verdict"] != "uninformative")]
    assert len(shown) > 3
    for verdict, n in shown["verdict"].value_counts().items():
        assert words.count(verdict) == n
    assert "self-injury only" in words
    assert "both, same direction (|effect| > 0.3)" in words


def test_an_uninformative_bar_is_thin_and_a_missing_one_a_dash(overlaps, artists):
    """Thin bars carry no number and no verdict, so that a prior is not read as a finding."""
    bars, _ = overlaps
    bars = bars[bars["other"].isin(bars["other"].unique()[:2])]
    fig = overlap_mechanisms(bars)
    drawn = artists(fig)
    shown = bars[bars["k_index"] > 0]
    tall = {v: set() for v in shown["verdict"]}
    for r in shown.itertuples():
        tall[r.verdict].add(round(drawn[f"p_shared:{r.mechanism}/{r.other}"].get_height(), 6))
    assert tall.pop("uninformative") == {THIN}
    assert set().union(*tall.values()) == {BAR}
    words = [t.get_text() for t in fig.axes[0].texts]
    assert "uninformative" not in words
    pairs = shown["mechanism"].nunique() * shown["other"].nunique()
    assert words.count("–") == pairs - len(shown) > 0
    numbers = [t for ax in fig.axes[1:] for t in ax.texts]
    thin = shown[shown["verdict"] == "uninformative"]
    assert len(thin) > 0
    assert 0 < len(numbers) <= 5 * (len(shown) - len(thin))


def test_summary_equals_the_table(overlaps, artists, xs):
    _, summary = overlaps
    drawn = artists(overlap_summary(summary))
    for r in summary.itertuples():
        key = f"{r.figure}/{r.other}"
        assert xs(drawn[f"ci:{key}"]) == [r.low, r.high]
        assert xs(drawn[f"mu:{key}"]) == [r.median]
        prior = xs(drawn[f"prior:{key}"])
        assert (min(prior), max(prior)) == pytest.approx((r.prior_low, r.prior_high))
        assert xs(drawn[f"prior-at:{key}"]) == [r.prior_median] * 2
        low, high = drawn[f"ci:{key}"].axes.get_xlim()
        assert low <= min(r.low, r.prior_low) < max(r.high, r.prior_high) <= high


def test_summary_prints_its_intervals(overlaps, artists):
    _, summary = overlaps
    drawn = artists(overlap_summary(summary))
    for r in summary.itertuples():
        digits = 0 if r.figure == "n_shared" else 2
        expected = f"{r.median:.{digits}f} [{r.low:.{digits}f}, {r.high:.{digits}f}]"
        printed = drawn[f"print:{r.figure}/{r.other}"].get_text()
        assert printed == expected.replace("-0.00", "0.00").replace("-", "−")


def test_summary_does_not_collide(overlaps, collisions, struck):
    _, summary = overlaps
    fig = overlap_summary(summary)
    assert collisions(fig) == []
    assert struck(fig) == []


def test_refusals_name_the_reason(overlaps):
    bars, summary = overlaps
    with pytest.raises(ValueError, match="no mechanism has evidence in both"):
        overlap_mechanisms(bars.assign(k_other=0))
    with pytest.raises(ValueError, match="do not sum to 1 for: m1"):
        overlap_mechanisms(bars.assign(p_neither=2.0))
    with pytest.raises(ValueError, match="mechanism twice for one condition"):
        overlap_mechanisms(bars.assign(mechanism="m1"))
    with pytest.raises(ValueError, match="4 conditions do not fit side by side: use overlap_pages"):
        overlap_mechanisms(bars, style=SINGLE)
    with pytest.raises(ValueError, match="lacks the columns: verdict"):
        overlap_mechanisms(bars.drop(columns="verdict"))
    with pytest.raises(ValueError, match="holds no row"):
        overlap_summary(summary.iloc[:0])
    with pytest.raises(ValueError, match="use the double column"):
        overlap_summary(summary, style=SINGLE)
    with pytest.raises(ValueError, match="twice for one condition"):
        overlap_summary(summary.assign(figure="jaccard"))


def test_alt_texts_hold_the_numbers(overlaps):
    bars, summary = overlaps
    text = alt_overlap_summary(summary)
    first = summary[summary["figure"] == "jaccard"].iloc[0]
    assert f"jaccard index {first['median']:.2f} [{first['low']:.2f}, {first['high']:.2f}]" in text
    assert "9,120" in text
    assert "61%" in text
    shown = bars[(bars["k_index"] > 0) & (bars["other"] == "suicide")]
    text = alt_overlap_mechanisms(bars)
    assert f"People with suicidal behaviour, {len(shown)} mechanisms" in text
    best = shown.iloc[0][list(CLASS_FILLS)].max()
    assert f"({best:.2f}; {shown.iloc[0]['verdict']})" in text


def test_a_probability_is_never_printed_as_a_certainty(overlaps):
    bars, _ = overlaps
    sure = bars.assign(
        p_shared=0.9999, p_opposite=0.0001, p_index_only=0.0, p_other_only=0.0, p_neither=0.0
    )
    words = [t.get_text() for ax in overlap_mechanisms(sure).axes for t in ax.texts]
    assert "> 0.99" in words
    assert "1.00" not in words


def test_pages_hold_every_pair_once_and_no_page_is_too_tall(overlaps, artists):
    bars, _ = overlaps
    bars = bars.assign(system=[f"s{int(m[1:]) // 3}" for m in bars["mechanism"]])
    whole = {g for g in artists(overlap_mechanisms(bars)) if g.startswith("p_shared:")}
    assert len(overlap_pages(bars)) == 1
    pages = overlap_pages(bars, page_height=75.0)
    assert len(pages) > 1
    assert max(page.get_size_inches()[1] * 25.4 for page in pages) < 75.0 + 1e-6
    drawn = [{g for g in artists(page) if g.startswith("p_shared:")} for page in pages]
    assert set().union(*drawn) == whole
    assert sum(map(len, drawn)) == len(whole)
    assert any(f"1 of {len(pages)}" in t.get_text() for t in pages[0].axes[0].texts)
    parts = overlap_parts(bars, page_height=75.0)
    named = [{f"p_shared:{r.mechanism}/{r.other}" for r in part.itertuples()} for part in parts]
    assert named == drawn
    for part, others in pairwise(parts):  # a system is not broken
        assert set(part["system"]).isdisjoint(others["system"])
