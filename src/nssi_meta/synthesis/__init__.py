"""The questions a review asks, answered from posteriors."""
