# SPDX-License-Identifier: GPL-2.0
"""The kernel's selftest of cpusets and partitions says the same with the option as without.

inotify is left out of it (its program wait_inotify is not in the guest): it gives a process
that has just been started 10 ms, which an emulated guest may not keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import test_selftests

if TYPE_CHECKING:
    from conftest import Boots

    from scenarios import Boot

PARTITIONS = test_selftests.with_and_without("test_cpuset_prs", "selftest:test_cpuset_prs.sh")


@pytest.mark.parametrize(("patched", "reference"), [PARTITIONS])
def test_partitions(patched: Boot, reference: Boot, boots: Boots) -> None:
    """Every case passes, fails or is skipped as it is without the option."""
    test_selftests.test_same_results(patched, reference, boots)
