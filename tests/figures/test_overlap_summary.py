"""The numbers of the overlap summary."""

from nssi_meta.figures.overlap_summary import print_figure
from nssi_meta.figures.records import Interval


def test_a_number_of_mechanisms_has_decimals_only_where_it_prints_some():
    """Quantiles of draws fall between whole numbers: 6.98 is 7, 7.5 is not."""
    assert print_figure(Interval(12.0, 6.98, 17.999), "n_shared") == "12 [7, 18]"
    assert print_figure(Interval(12.0, 7.5, 18.0), "n_shared") == "12.0 [7.5, 18.0]"
