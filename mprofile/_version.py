# SPDX-License-Identifier: MIT
"""The version, in one place for Python code."""

__version__ = "0.1.0"
