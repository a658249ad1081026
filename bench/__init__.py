"""Speed and memory, as ratios within one run: these figures are measured here and never asserted in timed tests."""
