# SPDX-License-Identifier: MIT
"""Renderers: pure functions from a profile to text, one file a format."""
