"""From a cohort's updates to the next model: exact sums, strategies, one rounding at the end. No I/O."""
