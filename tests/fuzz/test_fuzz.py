"""A thousandth of what `python tests/fuzz/run.py` tries."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from entries import ENTRIES
from run import fuzz
from served_entries import stop

CASES = 9


@pytest.fixture(scope="module", autouse=True)
def no_server_stays():
    yield
    stop()


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_input_is_answered_wrongly_or_in_riddles(entry, tmp_path):
    counts, shown = fuzz(entry, CASES, seed=1, place=tmp_path)
    assert sum(counts.values()) == CASES
    assert not shown, dict(shown)
