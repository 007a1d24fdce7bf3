# SPDX-License-Identifier: MIT
"""What all benchmarks share: configurations, their environments, programs, interleaved rounds, ratios."""
