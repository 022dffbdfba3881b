"""What many analyses of one pool say together: ranges, and in how many the conclusion stands."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nssi_meta.synthesis.cells import CELL

PREFIX = "choice_"
#: How the analysis that allows for selective reporting is named.
ADJUSTED = "how adjusted for selective reporting"


def judged(analyses: pd.DataFrame) -> pd.DataFrame:
    """`analyses` with `stands`: whether an interval lies as the pool's first one does.

    On the same side of 0, or including it. Missing where an analysis has no numbers.
    """
    side = np.where(analyses["low"] > 0, 1, np.where(analyses["high"] < 0, -1, 0))
    main = analyses.assign(side=side).drop_duplicates(CELL).set_index(CELL)["side"]
    keys = pd.MultiIndex.from_frame(analyses[CELL])
    stands = pd.array(side == main.reindex(keys).to_numpy(), dtype="boolean")
    stands[analyses["median"].isna().to_numpy()] = pd.NA
    return analyses.assign(stands=stands)


def counted(analyses: pd.DataFrame) -> pd.DataFrame:
    """The analyses that count: with numbers, and not the same as an earlier one."""
    return analyses[analyses["median"].notna() & (analyses["same_as"] == "")]


def ranges(analyses: pd.DataFrame) -> pd.DataFrame:
    """One row a pool: main analysis, range over all that count, the one that moves it most."""
    choices = [c for c in analyses.columns if str(c).startswith(PREFIX)]
    records = []
    for key, rows in counted(analyses).groupby(CELL, sort=False):
        main = rows.iloc[0]
        n, stands = len(rows), int(rows["stands"].sum())
        shift = rows["median"] - main["median"]
        far = rows.loc[shift.abs().idxmax()]
        records.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "k": main["k"],
                "n_bounds": main["n_bounds"],
                "median": main["median"],
                "low": main["low"],
                "high": main["high"],
                **{
                    f"{which}_{name}": getattr(rows[name], end)()
                    for name in ("median", "low", "high")
                    for which, end in (("lowest", "min"), ("highest", "max"))
                },
                "n_analyses": n,
                "n_stands": stands,
                "conclusion": f"stands in {stands} of {n} analyses",
                "most_moved_by": _words(far, main, choices),
                "most_moved": float(far["median"] - main["median"]),
            }
        )
    return pd.DataFrame(records)


def _words(one: pd.Series, main: pd.Series, choices: list[str]) -> str:
    """How an analysis differs from the main one."""
    other = [c for c in choices if pd.notna(one[c]) and one[c] != main[c]]
    return ", ".join(f"{c.removeprefix(PREFIX).replace('_', ' ')} {one[c]}" for c in other)


def with_one_more(pools: pd.DataFrame, adjusted: pd.DataFrame) -> pd.DataFrame:
    """`pools` with the range over their other analyses widened by one: that adjusted for selection.

    `adjusted` has a row a pool with `adjusted_` median, low and high (`robustness.robustness`). A
    pool without a range stays as it is.
    """
    out = pools.copy()
    other = adjusted.set_index(CELL)
    for i, row in pools.iterrows():
        if pd.isna(row["n_analyses"]):
            continue
        one = other.loc[tuple(row[c] for c in CELL)]
        low, high = one["adjusted_low"], one["adjusted_high"]
        for name in ("median", "low", "high"):
            out.loc[i, f"lowest_{name}"] = min(row[f"lowest_{name}"], one[f"adjusted_{name}"])
            out.loc[i, f"highest_{name}"] = max(row[f"highest_{name}"], one[f"adjusted_{name}"])
        side, main = (
            1 if a > 0 else -1 if b < 0 else 0
            for a, b in ((low, high), (row["mu_low"], row["mu_high"]))
        )
        n, stands = int(row["n_analyses"]) + 1, int(row["n_stands"]) + (side == main)
        out.loc[i, ["n_analyses", "n_stands"]] = n, stands
        out.loc[i, "conclusion"] = f"stands in {stands} of {n} analyses"
        shift = float(one["adjusted_median"] - row["mu_median"])
        if abs(shift) > abs(row["most_moved"]):
            out.loc[i, ["most_moved_by", "most_moved"]] = ADJUSTED, shift
    return out
