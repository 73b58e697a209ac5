"""Color profiles that images carry."""

from __future__ import annotations

from tests.support import icc

P3, ADOBE = icc.profile("Display P3"), icc.profile("Adobe RGB (1998)", icc.ADOBE_GAMMA)
