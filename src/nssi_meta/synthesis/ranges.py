"""What many analyses of one pool say together: ranges, and in how many the conclusion stands."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nssi_meta.synthesis.cells import CELL

PREFIX = "choice_"


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
